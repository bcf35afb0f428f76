#!/usr/bin/env python3
"""report_browser.py DIR [SHOTS]: the pages that `test_html --write DIR` made, in headless Chromium, wide and narrow,
light, dark and printed: layout, values, keyboard, pointer, console. SHOTS: a directory for pictures to look at."""

import os
import sys

sys.dont_write_bytecode = True
from browser import Browser, find_chromium

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "report_check.js"), encoding="utf-8") as f:
    check_script = f.read()
passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("FAILED %s %s" % (name, detail))


def layout(b, page, shots):
    views = [(1280, False, ""), (390, False, "")]
    if page in ("usual", "hostile"):
        views += [(820, False, ""), (1280, True, ""), (390, True, ""), (720, False, "print")]
    for width, dark, media in views:
        name = "%s at %d%s%s" % (page, width, " dark" if dark else "", " " + media if media else "")
        b.open(os.path.join(directory, page + ".html"), width, dark=dark, media=media)
        if shots:
            b.screenshot(os.path.join(shots, name.replace(" ", "-") + ".png"))
        wrong = b.run(check_script)
        check(name, wrong == [], "\n  ".join([""] + [str(w) for w in wrong]))
        complaints = b.complaints()
        check(name + ": console and network", complaints == [], str(complaints))


def centre(b, expression):
    b.run("%s.scrollIntoView({block:'center'})" % expression)
    return b.run("(()=>{const r=%s.getBoundingClientRect();return [r.x+r.width/2,r.y+r.height/2]})()" % expression)


def click(b, expression):
    x, y = centre(b, expression)
    b.mouse("mouseMoved", x, y)
    b.mouse("mousePressed", x, y, button="left", clickCount=1)
    b.mouse("mouseReleased", x, y, button="left", clickCount=1)


HIDDEN = """[...document.querySelectorAll('#%s svg:not(.key) [data-s="1"]')]
  .map(e => getComputedStyle(e).display === 'none')"""
TIP = "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"


def behaviour(b):
    b.open(os.path.join(directory, "usual.html"), 1280)
    button = "document.querySelector('#g1 [data-toggle=\"1\"]')"
    click(b, button)
    check(
        "a click hides the schedule in every plot of its group",
        b.run(HIDDEN % "g1 .curves") and all(b.run(HIDDEN % "g1 .curves")) and all(b.run(HIDDEN % "g1 .two")),
        str(b.run(HIDDEN % "g1")),
    )
    check("and says so", b.run(button + ".getAttribute('aria-pressed')") == "false")
    check(
        "its rows are dimmed",
        b.run("Number(getComputedStyle(document.querySelector('#g1 tr[data-s=\"1\"]')).opacity) < 0.6"),
    )
    check("the other group keeps it", not any(b.run(HIDDEN % "g2")))

    plot = "document.querySelector('#g1 svg[data-curve=val_loss]')"
    x, y = centre(b, plot)
    b.mouse("mouseMoved", x, y)
    text = b.run(TIP)
    check("the pointer shows iteration and values", "iteration " in text and "exponential" in text, text)
    check("not of what is hidden", "B linear1" not in text, text)
    b.mouse("mouseMoved", 2, 2)
    check("and leaves nothing behind", b.run(TIP) == "")

    b.run(button + ".focus()")
    b.key("Enter", 13, "\r")
    check(
        "the keyboard shows it again",
        not any(b.run(HIDDEN % "g1")) and b.run(button + ".getAttribute('aria-pressed')") == "true",
    )

    for _ in range(40):  # from the legend with Tab to the plot
        b.key("Tab", 9)
        if b.run("document.activeElement === " + plot):
            break
    check("Tab reaches the plot", b.run("document.activeElement === " + plot))
    b.key("End", 35)
    for _ in range(3):
        b.key("ArrowLeft", 37)
    wanted = b.run(
        """(() => { const r = JSON.parse(document.getElementById('report').textContent);
      const c = r.groups[0].schedules[3].curves.val_loss,
      k = c.iter.length - 4;
      return ['iteration ' + c.iter[k], 'cosine' + c.mean[k].toFixed(4),
        c.lo[k].toFixed(4), c.hi[k].toFixed(4)]; })()"""
    )
    text, spoken = b.run(TIP), b.run(plot + ".getAttribute('aria-valuetext')")
    check("arrow keys show the values of the JSON", all(w in text for w in wanted), "%s in %s" % (wanted, text))
    check("and a screen reader hears them", wanted[0] in spoken and "cosine " + wanted[1][6:] in spoken, spoken)
    check(
        "the box is inside of the window",
        b.run("""(() => { const r = document.getElementById('tip').getBoundingClientRect();
      return r.left >= 0 && r.top >= 0 && r.right <= innerWidth && r.bottom <= innerHeight; })()"""),
    )
    b.key("Escape", 27)
    check("Escape takes the box away", b.run(TIP) == "")

    b.run("document.querySelector('#g1 svg[data-forest]').focus()")
    b.key("Home", 36)
    b.key("ArrowDown", 40)
    wanted = b.run(
        """(() => {
      const row = JSON.parse(document.getElementById('report').textContent).groups[0].comparisons[0].rows[1];
      return [row.schedule + ', ' + row.verdict, row.mean.toFixed(4),
        ...row.differences.map(d => 'seed ' + d[0] + d[1].toFixed(4))]; })()"""
    )
    text = b.run(TIP)
    check(
        "the plot of differences shows mean and seeds", all(w in text for w in wanted), "%s in %s" % (wanted, text)
    )

    click(b, "document.querySelectorAll('#g1 table.results th button')[1]")
    values = b.run(
        "[...document.querySelectorAll('#g1 table.results tbody tr')]"
        ".map(r => Number(r.querySelector('[data-k=\"0\"]').dataset.v))"
    )
    check("a click on a heading sorts", len(values) == 10 and values == sorted(values), str(values))
    click(b, "document.querySelector('#g1 [data-all=false]')")
    check("hide all", b.run("document.querySelectorAll('#g1 [aria-pressed=true]').length") == 0)
    click(b, "document.querySelector('#g1 [data-all=true]')")
    check("show all", b.run("document.querySelectorAll('#g1 [aria-pressed=false]').length") == 0)
    check("console after all that", b.complaints() == [], str(b.complaints()))


def hostile(b):
    b.open(os.path.join(directory, "hostile.html"), 1280)
    check("no script of a stranger ran", b.run("document.querySelectorAll('script').length") == 2)
    b.run("var s=document.createElement('script');s.textContent='window.ran=1';document.body.append(s);0")
    check("and none could: the policy refuses it", b.run("window.ran === undefined") and len(b.complaints()) > 0)


def without_script(b):
    b.open(os.path.join(directory, "usual.html"), 1280, script=False)
    check("without script: not marked as running", b.run("!document.documentElement.classList.contains('js')"))
    check(
        "without script: all plots and tables are there",
        b.run("document.querySelectorAll('svg[data-curve]').length") == 12
        and b.run("document.querySelectorAll('table.results tbody tr').length") == 20,
    )
    check(
        "without script: no controls that do nothing are offered",
        b.run("[...document.querySelectorAll('.script')].every(e => getComputedStyle(e).display === 'none')"),
    )


def catches(b):
    """The checks find what is wrong when something is."""
    for name, harm, said in (
        ("a changed value", "document.querySelector('table.results .m').textContent = '1.0001'", "is shown as"),
        ("a wide element", "document.querySelector('h1').style.width = '1500px'", "sideways"),
        (
            "labels on each other",
            "document.querySelectorAll('svg[data-curve] .letter').forEach(t => t.setAttribute('y', 100))",
            "labels of",
        ),
        ("pale text", "document.querySelector('.lead-in').style.color = '#bbb'", "contrast"),
    ):
        b.open(os.path.join(directory, "few.html"), 1280)
        b.run(harm)
        wrong = b.run(check_script)
        check("the check notices " + name, any(said in w for w in wrong), str(wrong))


program = find_chromium()
if not program:
    print("skipped: no Chromium here (looked for $CHROMIUM, chromium, chromium-browser, google-chrome, chrome)")
    sys.exit(77)
directory, shots = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
try:
    browser = Browser(program)
except (OSError, EOFError, TimeoutError, RuntimeError) as e:
    print("skipped: %s does not start here (%s)" % (program, e))
    sys.exit(77)
try:
    for each in ("usual", "hostile", "many", "few"):
        layout(browser, each, shots)
    behaviour(browser)
    hostile(browser)
    without_script(browser)
    catches(browser)
finally:
    browser.close()
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)

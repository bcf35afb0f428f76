/* Fuzz target of dd_json_parse: within its limits it accepts what jansson accepts, and refuses the rest as damaged,
 * never as a want of memory. */
#include "fuzz_common.h"
#include "core/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  json_t *ours, *theirs;
  dd_json_fault fault = {0};
  json_error_t e;
  fuzz_name = "fuzz_json";
  const int rc = dd_json_parse(text, size, SIZE_MAX, &ours, &fault);
  demand(rc == DD_OK || rc == DD_E_CORRUPT, "status");
  demand((rc == DD_OK) == (ours != NULL), "object");
  demand(!rc || (fault.what && fault.line > 0 && fault.byte > 0), "fault");
  theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
  const int limit = rc && (strstr(fault.what, "nested") || strstr(fault.what, "too long"));
  /* jansson passes over a NUL behind a word or a number; we do not */
  demand(limit || !theirs == !ours || (size && memchr(data, 0, size)), "jansson judges otherwise");
  demand(!theirs || !ours || json_equal(ours, theirs), "another value");
  json_decref(theirs);
  json_decref(ours);
  *(rc ? &refused : &accepted) += 1;
  ours = NULL;
  const int few = dd_json_parse(text, size, 3, &ours, NULL);
  demand(few != DD_E_RUNTIME && (rc == DD_OK || few), "limits");
  json_decref(ours);
  return 0;
}

#ifndef DD_LIBFUZZER
static const fuzz_seed seeds[] = {
    {"{\"a\": [1, -2.5e+3, 0, 0.1], \"b\\n\\u00e9\\ud83d\\ude00\": {\"c\": null}, \"d\": true, \"e\": false}", 0},
    {"[]", 0},
    {"{}", 0},
    {" [ [ ] , { } , \"\\\\\\\"\\/\\b\\f\\r\\t\" ]\r\n", 0},
    {"[1E5,1e-5,-0,12345678901234567890]", 0},
    {"{\"k\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}", 0}};
static const char *const words[] = {"[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    ":",
                                    "\"",
                                    "\\",
                                    "\\u",
                                    "\\ud800",
                                    "\\udc00",
                                    "\\u0000",
                                    "null",
                                    "true",
                                    "false",
                                    "-",
                                    "0",
                                    "1e",
                                    ".",
                                    "e+",
                                    "\xc0\x80",
                                    "\xed\xa0\x80",
                                    "\xf4\x90\x80\x80",
                                    "\xc3",
                                    "\"a\":1",
                                    " ",
                                    "\n",
                                    "\x1f",
                                    "[[",
                                    "\xef\xbb\xbf"};
FUZZ_MAIN("fuzz_json", 400000)
#endif

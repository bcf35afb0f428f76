// Opens a run, measures how well it predicts a text, prints the likeliest characters after it, and goes on with it.
//
//   c++ ask.cpp $(pkg-config --cflags --libs libdd) -o ask && ./ask RUN "To be, or not to "
#include <dd_cpu.h>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Free {
  void operator()(dd_settings *s) const { dd_settings_destroy(s); }
  void operator()(dd_gpt *g) const { dd_gpt_close(g, nullptr); }
};

class Model {
 public:
  explicit Model(const std::string &run) : settings_(dd_settings_create()) {
    if (!settings_) throw std::bad_alloc();
    set("run", run);
    set("temperature", "0");
    dd_gpt *g = nullptr;
    check(dd_gpt_open(&g, settings_.get(), nullptr, &err_));
    gpt_.reset(g);
    dd_gpt_describe(g, &info_);
  }

  const dd_gpt_info &info() const { return info_; }

  std::vector<int32_t> encode(const std::string &text) {
    int64_t n = 0;
    std::vector<int32_t> ids(text.size());
    check(dd_gpt_encode(gpt_.get(), text.data(), text.size(), ids.data(), static_cast<int64_t>(ids.size()), &n, &err_));
    ids.resize(static_cast<std::size_t>(n));
    return ids;
  }

  std::string decode(const std::vector<int32_t> &ids) {
    std::size_t n = 0;
    check(dd_gpt_decode(gpt_.get(), ids.data(), static_cast<int64_t>(ids.size()), nullptr, 0, &n, &err_));
    std::vector<char> text(n + 1);
    check(dd_gpt_decode(gpt_.get(), ids.data(), static_cast<int64_t>(ids.size()), text.data(), text.size(), &n, &err_));
    return std::string(text.data(), n);
  }

  double loss(const std::vector<int32_t> &ids) { // nats per token
    const std::vector<uint16_t> narrow(ids.begin(), ids.end());
    double mean = 0;
    check(dd_gpt_evaluate_tokens(gpt_.get(), narrow.data(), static_cast<int64_t>(narrow.size()), &mean, &err_));
    return mean;
  }

  std::vector<float> logits(const std::vector<int32_t> &ids) { // of what follows the last token
    const std::size_t V = static_cast<std::size_t>(info_.vocab_size);
    const std::size_t n = std::min(ids.size(), static_cast<std::size_t>(info_.block_size));
    std::vector<float> all(n * V);
    check(dd_gpt_logits(gpt_.get(), ids.data() + (ids.size() - n), 1, static_cast<int64_t>(n), all.data(), &err_));
    return std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(V), all.end());
  }

  std::vector<int32_t> continue_with(const std::vector<int32_t> &prompt, std::size_t n) {
    std::vector<int32_t> ids(n);
    check(dd_gpt_generate(gpt_.get(), nullptr, prompt.data(), static_cast<int64_t>(prompt.size()), ids.data(),
                          static_cast<int64_t>(n), &err_));
    return ids;
  }

 private:
  void set(const char *key, const std::string &value) {
    check(dd_settings_set(settings_.get(), key, value.c_str(), &err_));
  }
  void check(int rc) const {
    if (rc != DD_OK) throw std::runtime_error(err_.message);
  }

  dd_error err_;
  dd_gpt_info info_;
  std::unique_ptr<dd_settings, Free> settings_;
  std::unique_ptr<dd_gpt, Free> gpt_;
};

} // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s RUN TEXT\n", argv[0]);
    return 2;
  }
  try {
    Model model(argv[1]);
    const std::vector<int32_t> ids = model.encode(argv[2]);
    std::printf("%d layers, %d parameters, iteration %d\n", static_cast<int>(model.info().n_layer),
                static_cast<int>(model.info().parameters), static_cast<int>(model.info().iter));
    std::printf("loss of the text: %.4f nats per token\n", model.loss(ids));
    const std::vector<float> logits = model.logits(ids);
    std::vector<int32_t> order(logits.size());
    for (std::size_t i = 0; i < order.size(); i++) order[i] = static_cast<int32_t>(i);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    std::printf("likeliest next:");
    for (std::size_t i = 0; i < 3 && i < order.size(); i++)
      std::printf(" '%s'", model.decode(std::vector<int32_t>(1, order[i])).c_str());
    const std::vector<int32_t> more = model.continue_with(ids, 40);
    std::printf("\ngoes on: %s%s\n", argv[2], model.decode(more).c_str());
    if (more.at(0) != order.at(0)) return 1; // temperature 0 takes the likeliest
  } catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}

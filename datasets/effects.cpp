#include "datasets/effects.h"

#include <sox.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>

#include "kernels/base/error.h"

namespace cafx {

namespace {

std::mutex sox_lock;      // libsox has global state
std::string sox_message;  // the last failure it told of

void keep_message(unsigned level, const char*, const char* format, va_list arguments) {
  if (level > 1) return;  // 1: failure, 2: warning
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  sox_message = text;
}

void start_sox() {
  static const bool started = [] {
    if (sox_init() != SOX_SUCCESS) throw Error("libsox cannot be initialised");
    sox_get_globals()->output_message_handler = keep_message;
    sox_get_globals()->verbosity = 1;
    return true;
  }();
  (void)started;
}

// What the two ends of the chain work on; each end's private data is a pointer to it.
struct Signal {
  std::span<const float> in;
  std::size_t at = 0;
  Recording out;
};
Signal& signal_of(sox_effect_t* e) { return **static_cast<Signal**>(e->priv); }

int read_input(sox_effect_t* e, sox_sample_t* out, size_t* n) {
  Signal& s = signal_of(e);
  const std::size_t count = std::min<std::size_t>(*n, s.in.size() - s.at);
  for (std::size_t i = 0; i < count; ++i) {
    // As SoX reads a float file: to 32 bits, clipped.
    const double x = static_cast<double>(s.in[s.at + i]) * (static_cast<double>(SOX_SAMPLE_MAX) + 1.0);
    out[i] = x >= SOX_SAMPLE_MAX ? SOX_SAMPLE_MAX : x <= SOX_SAMPLE_MIN ? SOX_SAMPLE_MIN : static_cast<sox_sample_t>(x);
  }
  s.at += count;
  *n = count;
  return count > 0 ? SOX_SUCCESS : SOX_EOF;
}

int write_output(sox_effect_t* e, const sox_sample_t* in, sox_sample_t*, size_t* n_in, size_t* n_out) {
  Signal& s = signal_of(e);
  const std::size_t count = std::min(*n_in, s.in.size() - std::min(s.in.size(), s.out.size()));
  for (std::size_t i = 0; i < count; ++i) {
    s.out.push_back(static_cast<float>(in[i] * (1.0 / (static_cast<double>(SOX_SAMPLE_MAX) + 1.0))));
  }
  *n_out = 0;
  return s.out.size() < s.in.size() ? SOX_SUCCESS : SOX_EOF;  // some effects ("repeat -") never end by themselves
}

int accept_flow(sox_effect_t*, const sox_sample_t*, sox_sample_t*, size_t* n_in, size_t* n_out) {
  *n_in = *n_out = 0;
  return SOX_SUCCESS;
}

struct DeleteChain {
  void operator()(sox_effects_chain_t* c) const { sox_delete_effects_chain(c); }
};

class ChainBuilder {
 public:
  ChainBuilder(const std::string& text, int rate, std::size_t length) : text_(text) {
    encoding_.encoding = SOX_ENCODING_FLOAT;
    encoding_.bits_per_sample = 32;
    now_.rate = rate;
    now_.channels = 1;
    now_.precision = 32;
    now_.length = length;  // some effects (fade) count from the end
    wanted_ = now_;
    now_.length = length;  // "fade" and "trim" count from the end
    chain_.reset(sox_create_effects_chain(&encoding_, &encoding_));
    if (!chain_) throw Error("libsox cannot make a chain of effects");
  }

  void add_end(const sox_effect_handler_t& handler, Signal& signal) {
    sox_effect_t* e = sox_create_effect(&handler);
    *static_cast<Signal**>(e->priv) = &signal;
    add(e, handler.name);
  }

  void add_effect(const std::string& name, std::vector<std::string> arguments) {
    const sox_effect_handler_t* handler = sox_find_effect(name.c_str());
    if (handler->flags & SOX_EFF_INTERNAL) {  // takes a pointer for an argument
      throw Error("chain \"{}\": effect '{}' is for SoX's own use; remove it", text_, name);
    }
    sox_effect_t* e = sox_create_effect(handler);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    sox_message.clear();
    if (sox_effect_options(e, static_cast<int>(arguments.size()), argv.data()) != SOX_SUCCESS) {
      std::free(e->priv);
      std::free(e);
      throw Error("chain \"{}\": SoX refuses effect '{}': {}; see 'man sox' for its parameters", text_, name,
                  sox_message.empty() ? "wrong parameters" : sox_message);
    }
    add(e, name);
    if (now_.rate != wanted_.rate || now_.channels != wanted_.channels) {
      throw Error(
          "chain \"{}\": effect '{}' changes the rate or the number of channels; dry and wet must have the same", text_,
          name);
    }
  }

  void run() {
    sox_message.clear();
    if (sox_flow_effects(chain_.get(), nullptr, nullptr) != SOX_SUCCESS && !sox_message.empty()) {
      throw Error("chain \"{}\": SoX stopped: {}", text_, sox_message);
    }
  }

 private:
  void add(sox_effect_t* e, const std::string& name) {
    sox_message.clear();
    const int status = sox_add_effect(chain_.get(), e, &now_, &wanted_);
    if (status != SOX_SUCCESS) std::free(e->priv);
    std::free(e);  // the chain holds a copy
    if (status != SOX_SUCCESS) {
      throw Error("chain \"{}\": SoX cannot start effect '{}': {}", text_, name,
                  sox_message.empty() ? "no reason given" : sox_message);
    }
  }

  std::string text_;
  sox_encodinginfo_t encoding_{};
  sox_signalinfo_t now_{}, wanted_{};
  std::unique_ptr<sox_effects_chain_t, DeleteChain> chain_;
};

}  // namespace

Chain find_chain(const std::string& name_or_text) {
  static const std::map<std::string, std::string> named = {
      {"fxchain1", "bass 20 500 0.7 treble -20 500 0.7 overdrive 30 0"},
      {"fxchain2", "bass 20 500 0.7 overdrive 30 0 treble -20 500 0.7"},
      {"fxchain3", "overdrive 30 0 bass 20 500 0.7 treble -20 500 0.7"}};
  const auto found = named.find(name_or_text);
  return found == named.end() ? Chain{name_or_text, 0} : Chain{found->second, 44100};
}

Recording apply_chain(const std::string& text, std::span<const float> x, int sample_rate) {
  if (x.empty()) return {};
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i]))
      throw Error("chain \"{}\": sample {} of the dry audio is {}; export it again", text, i, x[i]);
  }
  const Chain wanted = find_chain(text);
  std::istringstream words(wanted.effects);
  std::vector<std::vector<std::string>> effects;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i]))
      throw Error("chain \"{}\": sample {} of its input is {}; mend the dry file", text, i, x[i]);
  }
  const std::lock_guard<std::mutex> lock(sox_lock);
  start_sox();
  for (std::string word; words >> word;) {
    if (sox_find_effect(word.c_str())) {
      effects.push_back({word});
    } else if (effects.empty()) {
      throw Error("chain \"{}\": SoX has no effect '{}'; 'sox --help-effect all' lists them", text, word);
    } else {
      effects.back().push_back(word);
    }
  }
  if (effects.empty()) throw Error("chain \"{}\": names no effect; such as \"overdrive 30 0\"", text);

  const sox_effect_handler_t input = {"cafx input",   nullptr, SOX_EFF_MCHAN | SOX_EFF_INTERNAL,
                                      nullptr,        nullptr, accept_flow,
                                      read_input,     nullptr, nullptr,
                                      sizeof(Signal*)};
  const sox_effect_handler_t output = {
      "cafx output", nullptr,        SOX_EFF_MCHAN | SOX_EFF_INTERNAL, nullptr, nullptr, write_output, nullptr, nullptr,
      nullptr,       sizeof(Signal*)};
  Signal signal{x, 0, {}};
  ChainBuilder chain(text, wanted.told_rate ? wanted.told_rate : sample_rate, x.size());
  chain.add_end(input, signal);
  for (auto& words_of : effects) {
    chain.add_effect(words_of.front(), {words_of.begin() + 1, words_of.end()});
  }
  chain.add_end(output, signal);
  chain.run();
  signal.out.resize(x.size(), 0.0f);
  return signal.out;
}

}  // namespace cafx

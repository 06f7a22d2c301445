// The recurrent student: LSTM layers, one after the other, and a dense head on the last one's h.
#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/dense/dense.h"
#include "kernels/lstm/lstm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/relative_error/relative_error.h"
#include "models/student/students.h"

namespace cafx {

namespace {

constexpr int kSlotStreams = 8;       // streams of a gradient slot: enough rows to keep a processor's adders busy
constexpr int kChunk = 512;           // samples heard or played at a time
constexpr long kRestSamples = 48000;  // of silence that bring the state to rest; NAM's trainer takes as many

class LstmStudent : public Student {
 public:
  explicit LstmStudent(const StudentConfig& config) : Student(config) {
    const long H = config.hidden;
    for (int l = 0; l < config.layers; ++l) {
      const std::string name = "lstm." + std::to_string(l);
      add(name + ".weight", {4 * H, inputs(l) + H}, H, true);
      add(name + ".bias", {4 * H}, H, false);
    }
    add("head.weight", {1, H}, H, true);
    add("head.bias", {1}, H, false);
  }

  int receptive_context() const override { return 0; }
  double multiply_adds() const override {
    double sum = config_.hidden;
    for (int l = 0; l < config_.layers; ++l) sum += 4.0 * config_.hidden * (inputs(l) + config_.hidden);
    return sum;
  }

  void begin(const Context& context, const StudentSegments& s) override {
    slots_.resize(static_cast<std::size_t>(n_slots(s.B)));
    over_tasks(context, n_slots(s.B), [&](const Context& inner, int i) {
      const FlushDenormals flush;
      Slot& slot = slots_[static_cast<std::size_t>(i)];
      slot.b0 = first(s.B, i);
      slot.B = first(s.B, i + 1) - slot.b0;
      slot.state.assign(static_cast<std::size_t>(2 * config_.layers * slot.B * config_.hidden), 0.0f);
      for (int t = 0; t < s.context; t += kChunk) hear(inner, slot, s, t, std::min(kChunk, s.context - t));
    });
  }

  double gradient(const Context& context, float* gradient, const StudentSegments& s, int t0, int T) override {
    const int S = n_slots(s.B);
    CAFX_CHECK(static_cast<int>(slots_.size()) == S && t0 >= 0 && t0 + T <= s.length, S, t0, T, s.length);
    losses_.assign(static_cast<std::size_t>(s.B), 0.0);
    over_tasks(context, S, [&](const Context& inner, int i) {
      const FlushDenormals flush;
      train(inner, slots_[static_cast<std::size_t>(i)], s, t0, T);
    });
    float* parts[kGradientSlots];
    for (int i = 0; i < S; ++i) parts[i] = slots_[static_cast<std::size_t>(i)].gradient.data();
    reduce_slots(context, gradient, parts, S, n_floats());
    double loss = 0.0;
    for (const double of_segment : losses_) loss += of_segment;
    return loss;
  }

  std::unique_ptr<StudentStream> stream(const Context&) const override;

  // T samples of one layer after the other. h and c (T+1,B,H) of each layer; row 0 is the state, and is taken from `state`
  // before and put there afterwards.
  void layers_forward(const Context& context, const float* weights, float* state, float* const* h, float* const* c,
                      float* const* gates, const float* x, void* scratch, int T, int B) const {
    const int H = config_.hidden;
    const long BH = static_cast<long>(B) * H;
    for (int l = 0; l < config_.layers; ++l) {
      float* of_layer = state + 2 * l * BH;
      std::copy_n(of_layer, BH, h[l]);
      std::copy_n(of_layer + BH, BH, c[l]);
      lstm_forward(context, h[l], c[l], gates ? gates[l] : nullptr, l == 0 ? x : h[l - 1] + BH, at(weights, weight(l)),
                   at(weights, weight(l) + 1), scratch, {T, B, inputs(l), H});
      std::copy_n(h[l] + T * BH, BH, of_layer);
      std::copy_n(c[l] + T * BH, BH, of_layer + BH);
    }
  }
  int inputs(int layer) const { return layer == 0 ? 1 : config_.hidden; }
  static std::size_t weight(int layer) { return 2 * static_cast<std::size_t>(layer); }
  std::size_t head() const { return 2 * static_cast<std::size_t>(config_.layers); }
  long forward_scratch(const Context& context, int T, int B) const {
    const int H = config_.hidden;
    return static_cast<long>(std::max({lstm_forward_scratch(context, {T, B, config_.layers > 1 ? H : 1, H}),
                                       dense_scratch(context, {T * B, H, 1})}) /
                             sizeof(float));
  }
  DenseDims head_dims(int n) const { return {n, config_.hidden, 1}; }

 private:
  struct Slot {
    int b0 = 0, B = 0;         // its segments
    std::vector<float> state;  // (layers, 2, B, H): h and c
    std::vector<float> gradient;
    StudentMemory memory;
  };

  static int n_slots(int B) { return std::clamp((B + kSlotStreams - 1) / kSlotStreams, 1, kGradientSlots); }
  static int first(int B, int slot) { return static_cast<int>(static_cast<long>(slot) * B / n_slots(B)); }

  // x of the segments of a slot, time outermost: samples [t, t + T), counted from the context's first.
  static void gather(float* x, const Slot& slot, const StudentSegments& s, int t, int T) {
    for (int b = 0; b < slot.B; ++b) {
      const float* row = s.x + static_cast<long>(slot.b0 + b) * (s.context + s.length) + t;
      for (int i = 0; i < T; ++i) x[static_cast<long>(i) * slot.B + b] = row[i];
    }
  }

  void hear(const Context& context, Slot& slot, const StudentSegments& s, int t, int T) {
    const long BH = static_cast<long>(slot.B) * config_.hidden, rows = (T + 1) * BH;
    const auto L = static_cast<std::size_t>(config_.layers);
    std::vector<long> sizes(2 * L, rows);
    sizes.push_back(static_cast<long>(T) * slot.B);
    sizes.push_back(forward_scratch(context, T, slot.B));
    const std::vector<float*> m = slot.memory.lay_out(sizes);
    gather(m[2 * L], slot, s, t, T);
    layers_forward(context, data(), slot.state.data(), m.data(), m.data() + L, nullptr, m[2 * L], m[2 * L + 1], T,
                   slot.B);
  }

  void train(const Context& context, Slot& slot, const StudentSegments& s, int t0, int T) {
    const int H = config_.hidden, B = slot.B, L = config_.layers;
    const long BH = static_cast<long>(B) * H, TB = static_cast<long>(T) * B;
    slot.gradient.assign(static_cast<std::size_t>(n_floats()), 0.0f);
    std::vector<long> sizes;
    for (int l = 0; l < 2 * L; ++l) sizes.push_back((T + 1) * BH);  // h, then c
    for (int l = 0; l < L; ++l) sizes.push_back(T * BH * 4);        // gates
    sizes.insert(sizes.end(), {T * BH, T * BH, TB, TB, TB});        // dh, dh of the layer below, x, y, dy
    sizes.push_back(
        std::max(forward_scratch(context, T, B),
                 static_cast<long>(lstm_backward_scratch(context, {T, B, L > 1 ? H : 1, H}) / sizeof(float))));
    const std::vector<float*> m = slot.memory.lay_out(sizes);
    float *const *h = m.data(), *const *c = h + L, *const *gates = c + L;
    float *const *rest = gates + L, *dh = rest[0], *dh_below = rest[1], *x = rest[2], *y = rest[3], *dy = rest[4];
    void* scratch = rest[5];

    gather(x, slot, s, s.context + t0, T);
    layers_forward(context, data(), slot.state.data(), h, c, gates, x, scratch, T, B);
    const float* top = h[L - 1] + BH;
    dense_forward(context, y, top, at(data(), head()), at(data(), head() + 1), scratch, head_dims(T * B));

    // The loss goes along time: y and dy are turned, through dh, which nothing holds yet.
    float *y_b = dh, *dy_b = dh_below;
    for (int b = 0; b < B; ++b) {
      for (long t = 0; t < T; ++t) y_b[t] = y[t * B + b];
      const long row = slot.b0 + b;
      relative_error_forward_backward(context, &losses_[static_cast<std::size_t>(row)], dy_b, y_b,
                                      s.target + row * s.length + t0, s.esr_scale + row, s.mae_scale + row,
                                      {1, T, s.length, s.pre_emphasis});
      for (long t = 0; t < T; ++t) dy[t * B + b] = dy_b[t];
    }

    float* g = slot.gradient.data();
    dense_backward(context, dh, at(g, head()), at(g, head() + 1), dy, y, top, at(data(), head()), scratch,
                   head_dims(T * B));
    for (int l = L - 1; l >= 0; --l) {
      lstm_backward(context, l > 0 ? dh_below : nullptr, at(g, weight(l)), at(g, weight(l) + 1), dh,
                    l == 0 ? x : h[l - 1] + BH, h[l], c[l], gates[l], at(data(), weight(l)), scratch,
                    {T, B, inputs(l), H});
      std::swap(dh, dh_below);
    }
  }

  std::vector<Slot> slots_;
  std::vector<double> losses_;
};

class LstmStream : public StudentStream {
 public:
  LstmStream(const Context& context, std::shared_ptr<const LstmStudent> student, std::vector<float> rest)
      : student_(std::move(student)), rest_(std::move(rest)) {
    context_ = context;
    context_.pool = nullptr;
    const StudentConfig& c = student_->config();
    const auto L = static_cast<std::size_t>(c.layers);
    std::vector<long> sizes(2 * L, static_cast<long>(kChunk + 1) * c.hidden);
    sizes.push_back(student_->forward_scratch(context_, kChunk, 1));
    parts_ = memory_.lay_out(sizes);
    if (rest_.empty()) {
      rest_.assign(2 * L * static_cast<std::size_t>(c.hidden), 0.0f);
      state_ = rest_;
      std::vector<float> silence(static_cast<std::size_t>(kRestSamples), 0.0f), y(silence.size());
      process(y.data(), silence.data(), kRestSamples);
      rest_ = state_;
    }
    state_ = rest_;
  }

  void process(float* y, const float* x, long n) override {
    const FlushDenormals flush;
    const auto L = static_cast<std::size_t>(student_->config().layers);
    const float* weights = student_->data();
    for (long t = 0; t < n; t += kChunk) {
      const int T = static_cast<int>(std::min<long>(kChunk, n - t));
      student_->layers_forward(context_, weights, state_.data(), parts_.data(), parts_.data() + L, nullptr, x + t,
                               parts_[2 * L], T, 1);
      const auto& p = student_->params();
      dense_forward(context_, y + t, parts_[L - 1] + student_->config().hidden, weights + p[student_->head()].offset,
                    weights + p[student_->head() + 1].offset, parts_[2 * L], student_->head_dims(T));
    }
  }
  void reset() override { state_ = rest_; }
  std::unique_ptr<StudentStream> twin() const override {
    return std::make_unique<LstmStream>(context_, student_, rest_);
  }
  const std::vector<float>& rest() const { return rest_; }

 private:
  Context context_;
  std::shared_ptr<const LstmStudent> student_;
  std::vector<float> rest_, state_;
  StudentMemory memory_;
  std::vector<float*> parts_;
};

std::unique_ptr<StudentStream> LstmStudent::stream(const Context& context) const {
  auto copy = std::make_shared<LstmStudent>(config_);
  std::copy_n(data(), n_floats(), copy->data());
  return std::make_unique<LstmStream>(context, std::move(copy), std::vector<float>());
}

}  // namespace

std::unique_ptr<Student> make_lstm_student(const StudentConfig& config) {
  return std::make_unique<LstmStudent>(config);
}

std::vector<float> lstm_rest(const Context& context, const Student& student) {
  CAFX_CHECK(student.config().kind == "lstm");
  const auto stream = student.stream(context);
  return static_cast<const LstmStream&>(*stream).rest();
}

}  // namespace cafx

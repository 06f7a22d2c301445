#include "kernels/device/cuda.h"
#include "kernels/ssm/ssm_layout.h"

// A block of threads goes through one channel of one place, chunk after chunk: a chunk's products with the packed
// matrices, then the step of the states. Places and channels fill the GPU.

namespace cafx::cuda {

namespace {

constexpr int Q = ssm::Q, kChunks = kSsmTile / kSsmChunk, kWarps = 4, kBlock = 32 * kWarps;
static_assert(Q == 32, "a lane has one sample of a chunk");

struct Complex {
  double re, im;
};
__device__ Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
__device__ Complex operator/(Complex a, Complex b) {
  const double scale = 1.0 / (b.re * b.re + b.im * b.im);
  return {(a.re * b.re + a.im * b.im) * scale, (a.im * b.re - a.re * b.im) * scale};
}
__device__ void put(float* to, int n, Complex z) {
  to[2 * n] = static_cast<float>(z.re);
  to[2 * n + 1] = static_cast<float>(z.im);
}

// A channel a block, an oscillator a thread; then the impulse response, its oscillators in order.
__global__ void prepare_kernel(Members members, float* packed, SsmTensors<const float*> p, int N) {
  members.enter(packed, p.log_dt, p.c, p.log_a_real, p.a_imag, p.d);
  __shared__ double response[Q];
  const ssm::Packed at(N);
  const int channel = static_cast<int>(blockIdx.x), tid = static_cast<int>(threadIdx.x);
  float* to = packed + channel * at.size;
  const double dt = exp(static_cast<double>(p.log_dt[channel]));
  for (int n = tid; n < N; n += kBlock) {
    const long i = static_cast<long>(channel) * N + n;
    const Complex A{-exp(static_cast<double>(p.log_a_real[i])), p.a_imag[i]}, c{p.c[2 * i], p.c[2 * i + 1]};
    const double decay = exp(dt * A.re), half = sin(0.5 * dt * A.im);
    const Complex a{decay * cos(dt * A.im), decay * sin(dt * A.im)};
    const Complex E = Complex{expm1(dt * A.re) * cos(dt * A.im) - 2.0 * half * half, a.im} / A, r = c * E;
    Complex power{1.0, 0.0};
    for (int j = 0; j < Q; ++j) {
      put(to + at.hear + static_cast<long>(Q - 1 - j) * 2 * N, n, power);
      power = power * a;
      const Complex heard = r * power;
      to[at.speak + 2L * n * Q + j] = static_cast<float>(2.0 * heard.re);
      to[at.speak + (2L * n + 1) * Q + j] = static_cast<float>(-2.0 * heard.im);
    }
    put(to + at.over, n, power);
    put(to + at.r, n, r);
    put(to + at.slope, n, c * a / A);
    put(to + at.e, n, E);
    put(to + at.a, n, A);
    put(to + at.fall, n, r / A);
  }
  __syncthreads();
  if (tid < Q) {
    double sum = tid == 0 ? static_cast<double>(p.d[channel]) : 0.0;
    for (int n = 0; n < N; ++n) {
      sum += tid == 0 ? 2.0 * to[at.r + 2 * n] : static_cast<double>(to[at.speak + 2L * n * Q + tid - 1]);
    }
    response[tid] = sum;
  }
  if (tid < 16) to[at.dt + tid] = tid == 0 ? static_cast<float>(dt) : 0.0f;
  __syncthreads();
  for (int i = tid; i < Q * Q; i += kBlock) {
    const int from = i / Q, t = i % Q;
    const float k = t < from ? 0.0f : static_cast<float>(response[t - from]);
    to[at.response + i] = k;
    to[at.response_t + t * Q + from] = k;
  }
  for (int i = tid; i < 2 * N * Q; i += kBlock) {
    const int m = i / Q, j = i % Q;
    to[at.hear_t + i] = to[at.hear + static_cast<long>(j) * 2 * N + m];
    to[at.speak_t + static_cast<long>(j) * 2 * N + m] = to[at.speak + i];
  }
}

// out[t] = sum_i first[i] of[i,t] + sum_m second[m] with[m,t] of a chunk, lane t; `partial` holds kWarps chunks. The
// result is the first warp's.
__device__ float products(float* partial, const float* first, const float* of, const float* second, const float* with,
                          int n) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  float sum = 0.0f;
  for (int i = warp; i < Q; i += kWarps) sum += first[i] * of[i * Q + lane];
  for (int m = warp; m < n; m += kWarps) sum += second[m] * with[m * Q + lane];
  partial[warp * Q + lane] = sum;
  __syncthreads();
  if (warp != 0) return 0.0f;
  for (int w = 1; w < kWarps; ++w) sum += partial[w * Q + lane];
  return sum;
}

// The state behind `samples` samples u of a chunk.
__device__ void step(float* next, const float* state, const float* u, const float* packed, const ssm::Packed& at, int N,
                     int samples) {
  const float* hear = packed + at.hear + static_cast<long>(Q - samples) * 2 * N;
  const float* over = samples == Q ? packed + at.over : packed + at.hear + static_cast<long>(Q - 1 - samples) * 2 * N;
  for (int i = 2 * static_cast<int>(threadIdx.x); i < 2 * N; i += 2 * kBlock) {
    float re = 0.0f, im = 0.0f;
    for (int k = 0; k < samples; ++k) {
      re += u[k] * hear[k * 2 * N + i];
      im += u[k] * hear[k * 2 * N + i + 1];
    }
    next[i] = re + over[i] * state[i] - over[i + 1] * state[i + 1];
    next[i + 1] = im + over[i] * state[i + 1] + over[i + 1] * state[i];
  }
}

__global__ void forward_kernel(Members members, float* y, float* state, float* saved, const float* u,
                               const float* packed, SsmDims d) {
  members.enter(y, state, u, packed);
  members.enter_given(saved);
  extern __shared__ float shared[];
  const ssm::Packed at(d.N);
  const int n = 2 * d.N, tid = static_cast<int>(threadIdx.x);
  float *chunk = shared, *partial = chunk + Q, *now = partial + kWarps * Q, *next = now + n;
  const long row = static_cast<long>(blockIdx.y) * d.C + blockIdx.x;
  const float* of = packed + blockIdx.x * at.size;
  u += row * d.T;
  y += row * d.T;
  for (int i = tid; i < n; i += kBlock) now[i] = state[row * n + i];
  for (int t0 = 0; t0 < d.T; t0 += Q) {
    const int samples = min(Q, d.T - t0);
    if (tid < Q) chunk[tid] = tid < samples ? u[t0 + tid] : 0.0f;
    if (saved && t0 % kSsmTile == 0) {
      float* mark = saved + (row * ssm_marks(d.T) + t0 / kSsmTile) * n;
      for (int i = tid; i < n; i += kBlock) mark[i] = now[i];
    }
    __syncthreads();
    const float sum = products(partial, chunk, of + at.response, now, of + at.speak, n);
    if (tid < samples) y[t0 + tid] = sum;
    step(next, now, chunk, of, at, d.N, samples);
    __syncthreads();
    float* const before = now;
    now = next;
    next = before;
  }
  for (int i = tid; i < n; i += kBlock) state[row * n + i] = now[i];
}

// What a place's channel gives to the gradients of the tensors, (Q + 6N) floats: sums over its chunks of u dy by their
// distance; of q a^j, of j q a^j and of j a^j u ds, complex numbers of the N oscillators.
constexpr long part_size(int N) { return Q + 6L * N; }
// The states at the chunks of a tile.
constexpr long states_size(int N) { return kChunks * 2L * N; }

__global__ void backward_kernel(Members members, float* du, float* parts, float* tiles, const float* dy, const float* u,
                                const float* saved, const float* packed, SsmDims d) {
  members.enter(du, parts, tiles, dy, u, saved, packed);
  extern __shared__ float shared[];
  const ssm::Packed at(d.N);
  const int N = d.N, n = 2 * N, tid = static_cast<int>(threadIdx.x);
  float *x = shared, *g = x + Q, *partial = g + Q, *state = partial + kWarps * Q, *next = state + n, *ds = next + n,
        *sums = ds + n;
  const long row = static_cast<long>(blockIdx.y) * d.C + blockIdx.x;
  const float* of = packed + blockIdx.x * at.size;
  float* states = tiles + row * states_size(N);
  u += row * d.T;
  dy += row * d.T;
  du += row * d.T;
  for (int i = tid; i < n; i += kBlock) ds[i] = 0.0f;
  for (int i = tid; i < 3 * n; i += kBlock) sums[i] = 0.0f;
  float response = 0.0f;
  for (int mark = ssm_marks(d.T) - 1; mark >= 0; --mark) {
    const int t_tile = mark * kSsmTile, chunks = (min(kSsmTile, d.T - t_tile) + Q - 1) / Q;
    __syncthreads();
    for (int i = tid; i < n; i += kBlock) state[i] = saved[(row * ssm_marks(d.T) + mark) * n + i];
    for (int k = 0; k < chunks; ++k) {  // states at the beginning of each chunk
      if (tid < Q) x[tid] = t_tile + k * Q + tid < d.T ? u[t_tile + k * Q + tid] : 0.0f;
      __syncthreads();
      for (int i = tid; i < n; i += kBlock) states[static_cast<long>(k) * n + i] = state[i];
      step(next, state, x, of, at, N, Q);
      __syncthreads();
      float* const before = state;
      state = next;
      next = before;
    }
    for (int k = chunks - 1; k >= 0; --k) {
      const int t0 = t_tile + k * Q, samples = min(Q, d.T - t0);
      __syncthreads();
      if (tid < Q) {
        x[tid] = tid < samples ? u[t0 + tid] : 0.0f;
        g[tid] = tid < samples ? dy[t0 + tid] : 0.0f;
      }
      __syncthreads();
      const float sum = products(partial, g, of + at.response_t, ds, of + at.hear_t, n);
      if (tid < samples) du[t0 + tid] = sum;
      if (tid < Q) {
        for (int i = 0; i + tid < Q; ++i) response += x[i] * g[i + tid];
      }
      const float* over = of + at.over;
      for (int i = 2 * tid; i < n; i += 2 * kBlock) {
        const float sr = states[static_cast<long>(k) * n + i], si = states[static_cast<long>(k) * n + i + 1];
        const float dr = ds[i], di = ds[i + 1], ar = over[i], ai = over[i + 1];
        float qr = 0.0f, qi = 0.0f, wr = 0.0f, wi = 0.0f, hr = 0.0f, hi = 0.0f, vr = 0.0f, vi = 0.0f;
        for (int j = 0; j < Q; ++j) {  // a^(j+1) of dy, a^j of u
          const float* p = j + 1 < Q ? of + at.hear + static_cast<long>(Q - 2 - j) * n : over;
          const float* a = of + at.hear + static_cast<long>(Q - 1 - j) * n;
          const float* v = of + at.speak_t + static_cast<long>(j) * n;
          const float weight = static_cast<float>(j);
          qr += g[j] * p[i];
          qi += g[j] * p[i + 1];
          wr += (weight + 1.0f) * g[j] * p[i];
          wi += (weight + 1.0f) * g[j] * p[i + 1];
          hr += weight * x[Q - 1 - j] * a[i];
          hi += weight * x[Q - 1 - j] * a[i + 1];
          vr += g[j] * v[i];
          vi += g[j] * v[i + 1];
        }
        sums[i] += 2.0f * (qr * sr - qi * si);
        sums[i + 1] += 2.0f * (qr * si + qi * sr);
        sums[n + i] += 2.0f * (wr * sr - wi * si);
        sums[n + i + 1] += 2.0f * (wr * si + wi * sr);
        // Over the chunk the state before counts as a^Q s.
        hr += static_cast<float>(Q) * (ar * sr - ai * si);
        hi += static_cast<float>(Q) * (ar * si + ai * sr);
        sums[2 * n + i] += hr * dr + hi * di;
        sums[2 * n + i + 1] += hi * dr - hr * di;
        ds[i] = vr + (ar * dr + ai * di);
        ds[i + 1] = vi + (ar * di - ai * dr);
      }
    }
  }
  __syncthreads();
  float* part = parts + row * part_size(N);
  if (tid < Q) part[tid] = response;
  for (int i = tid; i < 3 * n; i += kBlock) part[Q + i] = sums[i];
}

// A channel a block: the parts of all places in order, then from the sums to the tensors as on the CPU.
__global__ void finish_kernel(Members members, SsmTensors<float*> g, const float* parts, const float* packed,
                              SsmDims d) {
  members.enter(parts, packed, g.log_dt, g.c, g.log_a_real, g.a_imag, g.d);
  __shared__ float response[Q];
  __shared__ double dts[kBlock];
  const ssm::Packed at(d.N);
  const int N = d.N, n2 = 2 * N, channel = static_cast<int>(blockIdx.x), tid = static_cast<int>(threadIdx.x);
  const float* of = packed + channel * at.size;
  const auto sum_of = [&](long i) {
    float sum = 0.0f;
    for (long b = 0; b < d.B; ++b) sum += parts[(b * d.C + channel) * part_size(N) + i];
    return sum;
  };
  if (tid < Q) response[tid] = sum_of(tid);
  __syncthreads();
  double dlog_dt = 0.0;
  const float dt = of[at.dt];
  for (int n = tid; n < N; n += kBlock) {
    const int re = 2 * n, im = re + 1;
    float pr = sum_of(Q + re), pi = sum_of(Q + im), wr = sum_of(Q + n2 + re), wi = sum_of(Q + n2 + im);
    for (int j = 0; j < Q; ++j) {
      const float* a = of + at.hear + static_cast<long>(Q - 1 - j) * n2;
      const float of_re = 2.0f * response[j] * a[re], of_im = 2.0f * response[j] * a[im];
      pr += of_re;
      pi += of_im;
      wr += static_cast<float>(j) * of_re;
      wi += static_cast<float>(j) * of_im;
    }
    const auto times = [&](long factor, float x, float y, float& out_re, float& out_im) {
      out_re = x * of[factor + re] - y * of[factor + im];
      out_im = x * of[factor + im] + y * of[factor + re];
    };
    float xr, xi, sr, si, er, ei, fr, fi;
    times(at.r, wr, wi, xr, xi);
    times(at.slope, pr, pi, sr, si);
    times(at.e, pr, pi, er, ei);
    times(at.fall, pr, pi, fr, fi);
    xr += sum_of(Q + 2 * n2 + re) + sr;
    xi += sum_of(Q + 2 * n2 + im) + si;
    const long i = static_cast<long>(channel) * N + n;
    g.c[2 * i] += er;
    g.c[2 * i + 1] -= ei;
    g.log_a_real[i] += of[at.a + re] * (xr * dt - fr);
    g.a_imag[i] -= xi * dt - fi;
    dlog_dt += static_cast<double>(xr) * of[at.a + re] - static_cast<double>(xi) * of[at.a + im];
  }
  dts[tid] = dlog_dt;
  __syncthreads();
  if (tid != 0) return;
  for (int k = 1; k < kBlock; ++k) dlog_dt += dts[k];
  g.log_dt[channel] += static_cast<float>(dlog_dt * dt);
  g.d[channel] += response[0];
}

dim3 grid_of(SsmDims d) { return dim3(static_cast<unsigned>(d.C), static_cast<unsigned>(d.B)); }

}  // namespace

std::size_t ssm_scratch(const Context&, SsmDims d) {
  return sizeof(float) * static_cast<std::size_t>((part_size(d.N) + states_size(d.N)) * d.B * d.C);
}

void ssm_prepare(const Context& context, void* packed, const SsmTensors<const float*>& p, SsmDims d) {
  launch(context, prepare_kernel, dim3(static_cast<unsigned>(d.C)), kBlock, 0, static_cast<float*>(packed), p, d.N);
}

void ssm_forward(const Context& context, float* y, float* state, float* saved, const float* u, const void* packed,
                 void*, SsmDims d) {
  const std::size_t shared = sizeof(float) * static_cast<std::size_t>((1 + kWarps) * Q + 4 * d.N);
  launch(context, forward_kernel, grid_of(d), kBlock, shared, y, state, saved, u, static_cast<const float*>(packed), d);
}

void ssm_backward(const Context& context, float* du, const SsmTensors<float*>& g, const float* dy, const float* u,
                  const float* saved, const void* packed, void* scratch, SsmDims d) {
  const std::size_t shared = sizeof(float) * static_cast<std::size_t>((2 + kWarps) * Q + 12 * d.N);
  float *parts = static_cast<float*>(scratch), *tiles = parts + part_size(d.N) * d.B * d.C;
  const auto* of = static_cast<const float*>(packed);
  launch(context, backward_kernel, grid_of(d), kBlock, shared, du, parts, tiles, dy, u, saved, of, d);
  launch(context, finish_kernel, dim3(static_cast<unsigned>(d.C)), kBlock, 0, g, static_cast<const float*>(parts), of,
         d);
}

}  // namespace cafx::cuda

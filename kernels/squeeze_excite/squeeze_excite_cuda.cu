#include "kernels/device/dots_cuda.h"
#include "kernels/device/stored_cuda.h"
#include "kernels/squeeze_excite/squeeze_excite.h"

namespace cafx::cuda {

namespace {

constexpr int kParts = 16;  // of a frame's time, each summed by a block of its own

// sums[b,part,c] = sum over the part's samples of value(sample of (B,T,C)), in a fixed order.
template <class F>
__global__ void time_sums_kernel(Members members, float* sums, SqueezeExciteDims d, F value) {
  members.enter(sums);
  const auto of = value(members);
  __shared__ float of_rows[8][33];
  const int c = static_cast<int>(blockIdx.x * 32 + threadIdx.x), part = static_cast<int>(blockIdx.y % kParts);
  const long b = blockIdx.y / kParts;
  const int length = (d.T + kParts - 1) / kParts, end = min((part + 1) * length, d.T);
  float sum = 0.0f;
  if (c < d.C) {
    for (int t = part * length + static_cast<int>(threadIdx.y); t < end; t += 8) {
      sum += of((b * d.T + t) * d.C + c);
    }
  }
  of_rows[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && c < d.C) {
    for (int i = 1; i < 8; ++i) sum += of_rows[i][threadIdx.x];
    sums[(b * kParts + part) * d.C + c] = sum;
  }
}
template <class F>
void time_sums(const Context& context, float* sums, SqueezeExciteDims d, F value) {
  launch(context, time_sums_kernel<F>, dim3(blocks_for(d.C, 32), static_cast<unsigned>(kParts * d.B)), dim3(32, 8), 0,
         sums, d, value);
}
__device__ float of_parts(const float* sums, long b, int c, int C) {
  float sum = 0.0f;
  for (int part = 0; part < kParts; ++part) sum += sums[(b * kParts + part) * C + c];
  return sum;
}

// A block has one frame: saved (a, s, h) from the sums of |x|.
__global__ void gains_kernel(Members members, float* saved, const float* sums, SqueezeExciteTensors<const float*> p,
                             SqueezeExciteDims d) {
  members.enter(saved, sums, p.w1, p.b1, p.w2, p.b2);
  const long b = blockIdx.x;
  float *a = saved + b * (2 * d.C + d.H), *s = a + d.C, *h = s + d.C;
  const int tid = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  for (int c = tid; c < d.C; c += step) a[c] = of_parts(sums, b, c, d.C) / static_cast<float>(d.T);
  __syncthreads();
  for (int j = tid; j < d.H; j += step) {
    float sum = p.b1[j];
    for (int c = 0; c < d.C; ++c) sum += p.w1[static_cast<long>(j) * d.C + c] * a[c];
    h[j] = sum < 0.0f ? 0.0f : sum;
  }
  __syncthreads();
  for (int c = tid; c < d.C; c += step) {
    float sum = p.b2[c];
    for (int j = 0; j < d.H; ++j) sum += p.w2[static_cast<long>(c) * d.H + j] * h[j];
    s[c] = 1.0f / (1.0f + expf(-sum));
  }
}

// Its gradients, before the activations, from the sums of dy x; that of a by sample.
__global__ void gain_gradients_kernel(Members members, float* gradients, const float* saved, const float* sums,
                                      SqueezeExciteTensors<const float*> p, SqueezeExciteDims d) {
  members.enter(gradients, saved, sums, p.w1, p.b1, p.w2, p.b2);
  const long b = blockIdx.x, row = b * (2 * d.C + d.H);
  const float *s = saved + row + d.C, *h = s + d.C;
  float *da = gradients + row, *ds = da + d.C, *dh = ds + d.C;
  const int tid = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  for (int c = tid; c < d.C; c += step) ds[c] = of_parts(sums, b, c, d.C) * s[c] * (1.0f - s[c]);
  __syncthreads();
  for (int j = tid; j < d.H; j += step) {
    float sum = 0.0f;
    for (int c = 0; c < d.C; ++c) sum += p.w2[static_cast<long>(c) * d.H + j] * ds[c];
    dh[j] = h[j] > 0.0f ? sum : 0.0f;
  }
  __syncthreads();
  for (int c = tid; c < d.C; c += step) {
    float sum = 0.0f;
    for (int j = 0; j < d.H; ++j) sum += p.w1[static_cast<long>(j) * d.C + c] * dh[j];
    da[c] = sum / static_cast<float>(d.T);
  }
}

// The weights' gradients are sums over the frames; the last column is the bias.
DotsDims of_first(SqueezeExciteDims d) { return {1, d.B, d.H, d.C + 1, false}; }
DotsDims of_second(SqueezeExciteDims d) { return {1, d.B, d.C, d.H + 1, false}; }
std::size_t sums_floats(SqueezeExciteDims d) {
  return static_cast<std::size_t>(d.B) * kParts * static_cast<std::size_t>(d.C);
}

template <class S>
void forward(const Context& context, S* y, float* saved, const S* x, const SqueezeExciteTensors<const float*>& p,
             float* sums, SqueezeExciteDims d) {
  time_sums(context, sums, d, [=] __device__(Members members) mutable {
    members.enter(x);
    return [=](long i) { return fabsf(read(x + i)); };
  });
  launch(context, gains_kernel, static_cast<unsigned>(d.B), kThreads, 0, saved, sums, p, d);
  const long C = d.C, frame = C * d.T, row = 2 * C + d.H;
  for_each(context, d.B * frame, [=] __device__(Members members) mutable {
    members.enter(y, saved, x);
    return [=](long i) { write(y + i, read(y + i) + saved[i / frame * row + C + i % C] * read(x + i)); };
  });
}

template <class S>
void backward(const Context& context, S* dx, const SqueezeExciteTensors<float*>& g, const S* dy, const S* x,
              const float* saved, const SqueezeExciteTensors<const float*>& p, float* scratch, SqueezeExciteDims d) {
  float *sums = scratch, *gradients = sums + sums_floats(d), *partial = gradients + squeeze_excite_saved(d);
  time_sums(context, sums, d, [=] __device__(Members members) mutable {
    members.enter(dy, x);
    return [=](long i) { return read(dy + i) * read(x + i); };
  });
  launch(context, gain_gradients_kernel, static_cast<unsigned>(d.B), kThreads, 0, gradients, saved, sums, p, d);
  const int C = d.C, H = d.H;
  const long row = 2L * C + H, frame = static_cast<long>(C) * d.T;
  SqueezeExciteTensors<float*> to = g;
  dots(
      context, partial, of_first(d),
      [=] __device__(Members members) mutable {
        members.enter(gradients);
        return [=](int, int j, int b) { return gradients[b * row + 2 * C + j]; };
      },
      [=] __device__(Members members) mutable {
        members.enter(saved);
        return [=](int, int c, int b) { return c < C ? saved[b * row + c] : 1.0f; };
      },
      [=] __device__(Members members) mutable {
        members.enter(to.w1, to.b1);
        return [=](int j, int c, float sum) { (c < C ? to.w1[static_cast<long>(j) * C + c] : to.b1[j]) += sum; };
      });
  dots(
      context, partial, of_second(d),
      [=] __device__(Members members) mutable {
        members.enter(gradients);
        return [=](int, int c, int b) { return gradients[b * row + C + c]; };
      },
      [=] __device__(Members members) mutable {
        members.enter(saved);
        return [=](int, int j, int b) { return j < H ? saved[b * row + 2 * C + j] : 1.0f; };
      },
      [=] __device__(Members members) mutable {
        members.enter(to.w2, to.b2);
        return [=](int c, int j, float sum) { (j < H ? to.w2[static_cast<long>(c) * H + j] : to.b2[c]) += sum; };
      });
  for_each(context, d.B * frame, [=] __device__(Members members) mutable {
    members.enter(x, gradients, dx, saved, dy);
    return [=](long i) {
      const long b = i / frame, c = i % C;
      const float v = read(x + i), da = gradients[b * row + c];
      write(dx + i, saved[b * row + C + c] * read(dy + i) + (v > 0.0f ? da : v < 0.0f ? -da : 0.0f));
    };
  });
}

}  // namespace

// The parts' sums, the gradients of what forward keeps, the slices of the weights' sums.
std::size_t squeeze_excite_scratch(const Context&, SqueezeExciteDims d) {
  return sizeof(float) *
         (sums_floats(d) + squeeze_excite_saved(d) + std::max(dots_scratch(of_first(d)), dots_scratch(of_second(d))));
}

void squeeze_excite_forward(const Context& context, Stored* y, float* saved, const Stored* x,
                            const SqueezeExciteTensors<const float*>& p, void* scratch, SqueezeExciteDims d) {
  with_stored(context, [&]<class S>() {
    forward(context, static_cast<S*>(y), saved, static_cast<const S*>(x), p, static_cast<float*>(scratch), d);
  });
}

void squeeze_excite_backward(const Context& context, Stored* dx, const SqueezeExciteTensors<float*>& g,
                             const Stored* dy, const Stored* x, const float* saved,
                             const SqueezeExciteTensors<const float*>& p, void* scratch, SqueezeExciteDims d) {
  with_stored(context, [&]<class S>() {
    backward(context, static_cast<S*>(dx), g, static_cast<const S*>(dy), static_cast<const S*>(x), saved, p,
             static_cast<float*>(scratch), d);
  });
}

}  // namespace cafx::cuda

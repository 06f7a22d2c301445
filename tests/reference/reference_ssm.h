// tests/reference/reference_ssm.h -- state-space layers and temporal FiLM as plain double-precision loops.
#pragma once

#include "kernels/film/film.h"
#include "kernels/film/film_fold.h"
#include "kernels/ssm/ssm.h"
#include "tests/reference/reference.h"

namespace cafx::reference {

struct Ssm {
  Vec log_dt, c, log_a_real, a_imag, d;
};
// state (B,C,N,2) before the first sample, then after the last. saved: as the op keeps it.
Vec ssm_forward(Vec& state, Vec& saved, const Vec& u, const Ssm& p, SsmDims d);
// Returns du; grads +=.
Vec ssm_backward(Ssm& grads, const Vec& dy, const Vec& u, const Vec& state, const Ssm& p, SsmDims d);

Vec film_pool_forward(const Vec& x, const Vec& constants, FilmDims d);
Vec film_pool_backward(const Vec& dpooled, const Vec& x, FilmDims d);
// modulation empty: none.
Vec film_forward(const Vec& z, const Vec& x, const Vec& residual, const Vec& modulation, FilmDims d);
struct Film {
  Vec dz, dmodulation, dx, dresidual;
};
Film film_backward(const Vec& dy, const Vec& z, const Vec& x, const Vec& residual, const Vec& modulation, FilmDims d);

// bias empty: none.
struct FilmFold {
  Vec w, bias, dmodulation;  // folded, or gradients
};
FilmFold film_fold(const Vec& w, const Vec& bias, const Vec& modulation, FilmFoldDims d);
FilmFold film_fold_backward(const FilmFold& dfolded, const Vec& w, const Vec& bias, const Vec& modulation,
                            FilmFoldDims d);

}  // namespace cafx::reference

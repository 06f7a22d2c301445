// rt/stream.h -- a stream of libcafx-rt for C++ of this project, of a model that the caller holds.
#pragma once

#include "cafx_rt.h"
#include "models/model.h"

namespace cafx {

// As cafx_rt_prepare, but the knobs stand where the model's do, and the rest that it begins from is theirs. Freed by
// cafx_rt_free. Error where cafx_rt_prepare has one.
cafx_rt_stream* make_rt_stream(const Model&, const cafx_rt_options&);

}  // namespace cafx

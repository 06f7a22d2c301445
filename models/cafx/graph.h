// models/cafx/graph.h -- parts of a graph that CAFx and its relatives share.
#pragma once

#include <string>

#include "models/cafx/config.h"
#include "models/graph.h"

namespace cafx {

// The operator of an activation; null: the identity.
const char* graph_op_of(const std::string& activation);

// u (B,C,T) -> the curve of each channel, under the name `saaf` as its constants' and nodes' names begin. Sizes are the
// config's; v and w those of kernels/saaf/saaf.h. Returns the output's name.
std::string add_saaf(GraphBuilder&, const std::string& saaf, const std::string& u, const CafxConfig&, const float* v,
                     const float* w);

}  // namespace cafx

// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/aggregate/l2_norm.hpp"
#include "culprit/aggregate/max_abs.hpp"
#include "culprit/aggregate/mean.hpp"
#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/aggregate/median_abs.hpp"
#include "culprit/aggregate/parameter_wise.hpp"
#include "culprit/aggregate/tensor_mean.hpp"

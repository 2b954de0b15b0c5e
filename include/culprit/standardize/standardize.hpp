// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/standardize/identity.hpp"
#include "culprit/standardize/mean_ratio.hpp"
#include "culprit/standardize/robust.hpp"
#include "culprit/standardize/z_score.hpp"

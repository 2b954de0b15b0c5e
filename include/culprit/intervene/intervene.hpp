// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/intervene/fine_tune.hpp"
#include "culprit/intervene/fine_tune_each.hpp"
#include "culprit/intervene/mask.hpp"
#include "culprit/intervene/prune.hpp"
#include "culprit/intervene/prune_each.hpp"

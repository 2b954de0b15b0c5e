// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/intervene/fine_tune.hpp"
#include "culprit/intervene/mask.hpp"
#include "culprit/intervene/prune.hpp"

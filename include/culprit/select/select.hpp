// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/select/bottom.hpp"
#include "culprit/select/except.hpp"
#include "culprit/select/given.hpp"
#include "culprit/select/layer_range.hpp"
#include "culprit/select/random.hpp"
#include "culprit/select/top.hpp"
#include "culprit/select/within.hpp"

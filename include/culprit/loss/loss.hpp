// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/loss/at_target.hpp"
#include "culprit/loss/cross_entropy.hpp"

// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/distance/cosine.hpp"
#include "culprit/distance/euclidean.hpp"
#include "culprit/distance/spearman.hpp"

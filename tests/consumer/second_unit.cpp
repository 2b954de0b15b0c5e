// SPDX-License-Identifier: MIT
//
// All public headers in a second translation unit: a function that is not inline would be defined twice.
#include "all_headers.hpp"

culprit::Index count_units(const culprit::Profile& profile) { return profile.size(); }

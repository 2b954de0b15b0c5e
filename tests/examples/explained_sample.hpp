// SPDX-License-Identifier: MIT
#pragma once

#include "figures/report_page.hpp"

namespace culprit::test {

inline figures::ExplainedSample explained_sample() {
  return {.name = "dog/0121.jpg",
          .png = "not looked into",
          .confidences = {{"deer", 0.75, false, true}, {"dog", 0.25, true, false}},
          .units = {{"layer1.0.conv1.weight", 7, 6.25, 0.5}, {"conv1.weight", 3, 1.5, 0.25}},
          .figures = {}};
}

}  // namespace culprit::test

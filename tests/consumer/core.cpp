// SPDX-License-Identifier: MIT
#include <array>

#include <culprit/core/order.hpp>

int main() {
  const std::array<double, 4> values{0.5, 3.0, -1.0, 3.0};
  return culprit::largest(values, 2) == std::vector<culprit::Index>{1, 3} ? 0 : 1;
}

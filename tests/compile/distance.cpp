// SPDX-License-Identifier: MIT
#include <span>
#include <string_view>

#include "culprit/neighbors.hpp"

namespace cu = culprit;

struct Manhattan {
  static constexpr std::string_view name = "manhattan";
  double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const;
};

struct NoName {
  double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const;
};

struct ReturnsFloat {
  static constexpr std::string_view name = "manhattan";
  float operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const;
};

struct Mutable {
  static constexpr std::string_view name = "manhattan";
  double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b);
};

struct OfProfiles {
  static constexpr std::string_view name = "manhattan";
  double operator()(const cu::Profile& a, const cu::Profile& b) const;
};

void use(const cu::Profile& query, std::span<const cu::Profile> profiles) {
  const cu::Neighbors right{Manhattan{}};
  (void)right(query, profiles, 5).front().distance;

  // error: culprit: a distance can be copied and assigned, and has a static string `name`
  const cu::Neighbors no_name{NoName{}};
  (void)no_name(query, profiles, 5).front().distance;

  // error: culprit: a distance returns a double
  const cu::Neighbors returns_float{ReturnsFloat{}};
  (void)returns_float(query, profiles, 5).front().distance;

  // error: culprit: a distance has a const operator()(a, b) of two const Eigen::VectorXd
  const cu::Neighbors is_mutable{Mutable{}};
  (void)is_mutable(query, profiles, 5).front().distance;

  // error: culprit: a distance has a const operator()(a, b) of two const Eigen::VectorXd
  const cu::Neighbors of_profiles{OfProfiles{}};
  (void)of_profiles(query, profiles, 5).front().distance;
}

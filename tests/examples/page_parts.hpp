// SPDX-License-Identifier: MIT
#pragma once

#include <regex>
#include <string>
#include <vector>

namespace culprit::test {

/// What a page asks for that is not within it, or could be.
inline std::vector<std::string> outward_addresses(const std::string& html) {
  const std::regex address("(?:src|href)=\"([^\"]*)\"|url\\(|@import");
  std::vector<std::string> outward;
  for (std::sregex_iterator it(html.begin(), html.end(), address), last; it != last; ++it) {
    const std::string target = (*it)[1].str();
    const bool within =
        target.starts_with("data:image/png;base64,") ||
        (target.starts_with("#") && html.find("id=\"" + target.substr(1) + '"') != std::string::npos);
    if (!within) outward.push_back(it->str());
  }
  return outward;
}

}  // namespace culprit::test

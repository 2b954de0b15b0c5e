// SPDX-License-Identifier: MIT
#pragma once

#include <culprit/core/error.hpp>

#include "support/catch.hpp"

namespace culprit::test {

/// The Error that the call throws; the test fails when it throws none, or anything else.
template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no culprit::Error was thrown");
  throw;
}

}  // namespace culprit::test

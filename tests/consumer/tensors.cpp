// SPDX-License-Identifier: MIT
//
// Little of culprit::culprit, for it compiles in seconds, but enough to need LibTorch at run time.
#include <cstdio>
#include <cstring>

#include <ATen/Context.h>
#include <ATen/ops/ones.h>
#include <culprit/tensor.hpp>

int main(int argc, char** argv) {
  const bool sees_cuda = at::globalContext().hasCUDART();  // whether its libraries are there, not a device
  if (argc == 2 && sees_cuda != (std::strcmp(argv[1], "cuda") == 0)) {
    std::printf("expected %s, came %s\n", argv[1], sees_cuda ? "cuda" : "cpu");
    return 1;
  }
  return culprit::to_matrix(at::ones({2, 3})).sum() == 6 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
//
// Models in a child process: the same results, and whatever they do to their process is one line here.
#include <csignal>
#include <filesystem>
#include <string>
#include <sys/resource.h>

#include "cli/workspace.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
using culprit::test::write_bytes;

Arguments isolated(Arguments arguments) {
  arguments.emplace_back("--isolate");
  return arguments;
}

Arguments model(const std::string& file) { return with(Workspace::fit(), {"--model", file}); }

}  // namespace

TEST_CASE("what a command does is the same in isolation", "[cli]") {
  const Workspace workspace;
  if (!workspace.write_script_models()) return;
  const auto same = [&](const Arguments& arguments, const std::string& file) {
    INFO(arguments.front());
    succeed(workspace, arguments);
    const std::string bytes = read_bytes(workspace / file);
    REQUIRE(std::filesystem::remove(workspace / file));
    const auto before = workspace.listing();
    const Run run = succeed(workspace, isolated(arguments));
    CHECK(run.err.find("error") == std::string::npos);
    CHECK(run.out.find("accuracy") != std::string::npos);
    CHECK(run.out.find("accuracy") == run.out.rfind("accuracy"));
    CHECK(read_bytes(workspace / file) == bytes);
    CHECK(workspace.listing().size() == before.size() + 1);
  };
  same(model("good.pt"), "b.safetensors");
  same(with(Workspace::profile(), {"--model", "good.pt", "--baseline", "b.safetensors"}), "p.safetensors");

  for (const Arguments& refused : {model("none.pt"), model("training.pt"), model("maps.pt")}) {
    const Run here = workspace.run(refused), there = workspace.run(isolated(refused));
    CHECK(here.status == 1);
    CHECK(there.status == 1);
    CHECK(there.err == here.err);
    CHECK(there.out.empty());
  }
}

TEST_CASE("what a model does to its process is one line in isolation", "[cli]") {
  const Workspace workspace;
  if (!workspace.write_script_models()) return;
  write_bytes(workspace / "b.safetensors", "of an earlier run");
  const auto before = workspace.listing();
  const auto check = [&](const Arguments& arguments, const std::string& error) {
    INFO(error);
    const Run run = workspace.run(isolated(arguments));
    CHECK(run.status == 1);
    CHECK(run.err.substr(0, error.size()) == error);
    CHECK(run.err.find('\n') == run.err.size() - 1);
    CHECK(run.out.empty());
    CHECK(read_bytes(workspace / "b.safetensors") == "of an earlier run");
    CHECK(workspace.listing() == before);
  };
  check(
      model("dividing.pt"),
      "culprit: error: dividing.pt, isolated: expected to end by itself, came SIGFPE, arithmetic that has no "
      "result\n");
  check(with(model("endless.pt"), {"--time-limit", "3"}),
        "culprit: error: endless.pt, isolated: expected to be done in 3 s, came more\n");
  check(model("hoarding.pt"),
        "culprit: error: t10k-images-idx3-ubyte#0: expected an input that the model takes, came [1, 1, 28, "
        "28]: "
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1073741824 bytes");

  const Run outside = workspace.run(model("dividing.pt"));
  CHECK(outside.status == 128 + SIGFPE);
}

TEST_CASE("a child that is killed while it writes leaves no half-written file", "[cli]") {
  const Workspace workspace;
  succeed(workspace, Workspace::fit());
  const std::string whole = read_bytes(workspace / "b.safetensors");
  // The system kills a process that writes more.
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{800, before.rlim_max};
  for (const Arguments& arguments : {Workspace::fit(), Workspace::explain()}) {
    INFO(arguments.front());
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Run run = workspace.run(isolated(arguments));
    ::setrlimit(RLIMIT_FSIZE, &before);
    CHECK(run.status == 1);
    CHECK(run.err.ends_with(
        "culprit: error: resnet8_fashion:weights.safetensors, isolated: expected to stay within its limit of "
        "bytes in a file, came more\n"));
    for (const std::string& name : workspace.listing()) CHECK(name.find(".tmp") == std::string::npos);
    CHECK(read_bytes(workspace / "b.safetensors") == whole);
  }
}

TEST_CASE("a time limit needs isolation", "[cli]") {
  const Workspace workspace;
  const Run run = workspace.run(with(Workspace::fit(), {"--time-limit", "3"}));
  CHECK(run.status == 2);
  CHECK(run.err == "culprit: error: --time-limit requires --isolate (see culprit fit --help)\n");
}

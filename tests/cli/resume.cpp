// SPDX-License-Identifier: MIT
//
// Runs that something ends, at any moment, and that the same command goes on with to the same bytes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"
#include "support/python.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
using culprit::test::write_bytes;
namespace io = culprit::io;

/// Writes a list of many samples of a few pictures.
void write_samples(const Workspace& workspace, int samples) {
  constexpr int pictures = 7;
  for (int i = 0; i < pictures; ++i)
    workspace.write_picture("pictures/" + std::to_string(i) + ".png", Workspace::side, Workspace::side, 1);
  std::string list;
  for (int i = 0; i < samples; ++i)
    list += "pictures/" + std::to_string(i % pictures) + ".png\t" + std::to_string(i % 10) + '\n';
  write_bytes(workspace / "list.tsv", list);
}

const Arguments from_list{"--data", "list:list.tsv"};

/// Every file of a folder with its bytes, but for what a killed process cannot remove.
std::map<std::string, std::string> files_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  if (std::filesystem::is_regular_file(folder)) return {{"", read_bytes(folder)}};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() != ".tmp")
      files[entry.path().lexically_relative(folder).string()] = read_bytes(entry.path());
  }
  return files;
}

}  // namespace

TEST_CASE("one worker or many write the same bytes", "[cli]") {
  const Workspace workspace;
  write_samples(workspace, 300);
  const Arguments fit = with(with(Workspace::fit(), from_list), {"--batch", "32"});
  const Arguments profile = with(with(Workspace::profile(), from_list), {"--batch", "32"});
  std::set<std::string> baselines, profiles;
  for (const char* const workers : {"1", "2", "4", "8"}) {
    for (int repeat = 0; repeat < 5; ++repeat) {
      succeed(workspace, with(fit, {"--workers", workers}));
      baselines.insert(read_bytes(workspace / "b.safetensors"));
    }
    succeed(workspace, with(profile, {"--workers", workers, "--baseline", "b.safetensors"}));
    profiles.insert(read_bytes(workspace / "p.safetensors"));
  }
  CHECK(baselines.size() == 1);
  CHECK(profiles.size() == 1);
}

TEST_CASE("profiles go on where they were cut off, in one file or a folder of many", "[cli]") {
  const Workspace workspace;
  write_samples(workspace, 2100);
  succeed(workspace, Workspace::fit());
  const Arguments profile =
      with(with(Workspace::profile(), from_list), {"--baseline", "b.safetensors", "--batch", "50"});
  const std::string picture = read_bytes(workspace / "pictures/3.png");
  std::string list = read_bytes(workspace / "list.tsv");
  list.replace(list.rfind("pictures/6.png"), 14, "pictures/l.png");
  write_bytes(workspace / "list.tsv", list);
  write_bytes(workspace / "pictures/l.png", picture.substr(0, 60));
  for (const std::string out : {"p.safetensors", "store"}) {
    INFO(out);
    const std::string parts = out == "store" ? out : out + ".parts";
    const Run cut_off = workspace.run(with(profile, {"--out", out}));
    CHECK(cut_off.status == 1);
    CHECK(cut_off.err.find("l.png") != std::string::npos);
    const io::Json index = io::parse_json(read_bytes(workspace / (parts + "/index.json")), "index");
    CHECK(index.at("samples").as_int() == 2100);
    REQUIRE(index.at("files").size() == 2);
    CHECK(index.at("files").items()[1].at("name").as_string() == "000000001000.safetensors");
    const Run other = workspace.run(with(profile, {"--out", out, "--batch", "25"}));
    CHECK(other.err ==
          "culprit: error: " + parts +
              "/index.json: expected a store of batch \"25\" (--fresh starts over), came \"50\"\n");
    if (out == "store") {
      const Run unfinished = workspace.run({"neighbors", "--profiles", "store", "--out", "near"});
      CHECK(unfinished.err ==
            "culprit: error: store: expected 2100 samples (culprit profile goes on with it), came 2000\n");
    }
  }
  write_bytes(workspace / "pictures/l.png", picture);
  const Run rest = succeed(workspace, profile);
  CHECK(rest.out.find("went on     from 2000 samples of an earlier run") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(workspace / "p.safetensors.parts"));
  succeed(workspace, with(profile, {"--out", "store"}));

  succeed(workspace, with(profile, {"--out", "unbroken.safetensors"}));
  succeed(workspace, with(profile, {"--out", "unbroken"}));
  const std::string whole = read_bytes(workspace / "unbroken.safetensors");
  CHECK(read_bytes(workspace / "p.safetensors") == whole);
  CHECK(files_in(workspace / "store") == files_in(workspace / "unbroken"));

  // Shards, in files and folders, are the whole again.
  for (const std::string ending : {".safetensors", ""}) {
    Arguments merge{"merge", "--out", "merged.safetensors"};
    for (const std::string shard : {"2", "0", "1"}) {
      succeed(workspace, with(profile, {"--out", "part" + shard + ending, "--shard", shard + "/3"}));
      merge.push_back("part" + shard + ending);
    }
    succeed(workspace, merge);
    CHECK(read_bytes(workspace / "merged.safetensors") == whole);
    merge.pop_back();
    CHECK(workspace.run(merge).err ==
          "culprit: error: parts: expected each chosen sample in one of them, came none with samples 700 to "
          "1399\n");
  }

  // A file of a store is not the whole, and parts by different baselines are not of one.
  CHECK(workspace.run({"merge", "unbroken/000000000000.safetensors", "--out", "no.safetensors"}).err ==
        "culprit: error: unbroken/000000000000.safetensors: expected 2100 samples, as its metadata say, came "
        "1000\n");
  succeed(workspace, with(Workspace::fit(), {"--limit", "11", "--out", "other.safetensors"}));
  succeed(workspace,
          with(profile, {"--baseline", "other.safetensors", "--out", "part1.safetensors", "--shard", "1/3"}));
  const Run mixed = workspace.run(
      {"merge", "part0.safetensors", "part1.safetensors", "part2.safetensors", "--out", "no.safetensors"});
  CHECK(mixed.err.starts_with("culprit: error: part1.safetensors: expected baseline "));
  const Run two =
      workspace.run({"neighbors", "--profiles", "part0.safetensors", "part1.safetensors", "--out", "no"});
  CHECK(two.err.find("by baseline") != std::string::npos);
  const Run rank = workspace.run(profile, "RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=1");
  CHECK(rank.err.starts_with("culprit: error: culprit profile: expected one process "));
  CHECK_FALSE(std::filesystem::exists(workspace / "no.safetensors"));

  // A folder is searched as the file is.
  const auto search = [&](const std::string& profiles) {
    succeed(workspace, {"neighbors", "--profiles", profiles, "--queries", "1999,3", "--out", "near"});
    return read_bytes(workspace / "near/neighbors.csv");
  };
  CHECK(search("store") == search("p.safetensors"));
  CHECK_FALSE(std::filesystem::exists(workspace / "merged.safetensors.parts"));
}

TEST_CASE("profiles are stored in fewer bits when told to", "[cli]") {
  const Workspace workspace;
  succeed(workspace, Workspace::fit());
  const Arguments profile = with(Workspace::profile(), {"--baseline", "b.safetensors"});
  succeed(workspace, profile);
  succeed(workspace, with(profile, {"--store-dtype", "bfloat16", "--out", "half.safetensors"}));
  const auto whole = io::Safetensors::open(workspace / "p.safetensors");
  const auto half = io::Safetensors::open(workspace / "half.safetensors");
  const auto wide = whole.values<double>("z");
  const auto narrow = half.values<culprit::Bfloat16>("z");
  REQUIRE(narrow.size() == wide.size());
  // 8 bits of a number are kept: it is off by 2^-9 of itself at most.
  for (std::size_t i = 0; i < wide.size(); ++i) {
    if (std::abs(static_cast<double>(narrow[i]) - wide[i]) > 0x1p-8 * std::abs(wide[i])) {
      FAIL("z " << i << ": " << static_cast<double>(narrow[i]) << " for " << wide[i]);
    }
  }
  CHECK(half.at("profile").dtype == io::Dtype::BF16);
  CHECK(half.read<std::int64_t>("label") == whole.read<std::int64_t>("label"));
  const Run near =
      succeed(workspace, {"neighbors", "--profiles", "half.safetensors", "--queries", "3", "--out", "n"});
  CHECK(near.out.find("similarity") != std::string::npos);
}

namespace {

/// Kills fit, profile and an experiment, each that many times at random moments.
void kill_again_and_again(int times) {
  const Workspace workspace;
  write_samples(workspace, 3000);
  succeed(workspace, Workspace::fit());
  Arguments experiment =
      with(with(Workspace::explain(), from_list),
           {"--out", "results", "--limit", "400", "--sizes", "1,5", "--repeats", "1", "--batch", "20"});
  experiment.front() = "prune";
  experiment.insert(experiment.begin(), "experiment");
  struct Job {
    Arguments command;
    std::string out;
  };
  std::mt19937 random(culprit::test::seed());
  for (const Job& job :
       {Job{with(with(Workspace::fit(), from_list), {"--out", "x.safetensors"}), "x.safetensors"},
        Job{with(with(Workspace::profile(), from_list), {"--out", "y"}), "y"}, Job{experiment, "results"}}) {
    INFO(job.command.front());
    const auto begun = std::chrono::steady_clock::now();
    succeed(workspace, job.command);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    const auto whole = files_in(workspace / job.out);
    std::filesystem::remove_all(workspace / job.out);

    int kills = 0, ends = 0;
    while (kills < times) {
      const double moment =
          0.05 + seconds * static_cast<double>(random()) / static_cast<double>(random.max());
      const Run run = workspace.run(job.command, "timeout -s KILL " + std::to_string(moment));
      if (run.status == 137) {
        ++kills;
        continue;
      }
      REQUIRE(run.status == 0);
      ++ends;
      CHECK(files_in(workspace / job.out) == whole);
      std::filesystem::remove_all(workspace / job.out);
    }
    succeed(workspace, job.command);
    CHECK(files_in(workspace / job.out) == whole);
    std::filesystem::remove_all(workspace / job.out);
    WARN(job.command.front() << ": " << kills << " kills, " << ends + 1 << " ends, " << seconds
                             << " s unbroken");
  }
}

}  // namespace

TEST_CASE("a run that is killed again and again ends with the bytes of one that is not", "[cli]") {
  kill_again_and_again(4);
}

TEST_CASE("a run that is killed a hundred times ends with the bytes of one that is not", "[cli][nightly]") {
  kill_again_and_again(34);
}

namespace {

const std::string mounting = "unshare --user --map-root-user --mount ";

bool may_mount(const Workspace& workspace) {
  if (workspace.shell(mounting + "true").status == 0) return true;
  std::cout << "SKIPPED: mounting a small disk is not allowed here\n";
  return false;
}

}  // namespace

TEST_CASE("a full disk is one error, earlier results stay whole, and the same command then succeeds",
          "[cli]") {
  const Workspace workspace;
  write_samples(workspace, 3000);
  if (!may_mount(workspace)) return;
  const Arguments fit = with(Workspace::fit(), from_list);
  succeed(workspace, Workspace::fit());
  const std::string earlier = read_bytes(workspace / "b.safetensors");
  succeed(workspace, with(fit, {"--out", "whole.safetensors"}));
  std::filesystem::create_directory(workspace / "disk");
  const std::string into_disk = Workspace::command(with(fit, {"--out", "disk/b.safetensors"}));
  const std::string command =
      "mount -t tmpfs -o size=1m small disk && cp b.safetensors disk && "
      "head -c $(( ($(stat -f -c %a disk) - 1) * 4096 )) /dev/zero >disk/filler && "
      "{ " +
      into_disk + " 2>first; echo $? >status; cp disk/b.safetensors kept.safetensors; ls -A disk >left; " +
      Workspace::command(with(Workspace::profile(), {"--out", "disk/p.safetensors"})) +
      " 2>second; rm disk/filler; " + into_disk + "; } && cp disk/b.safetensors last.safetensors";
  const Run run = workspace.shell(mounting + "sh -c " + Workspace::quoted(command));
  INFO(run.err);
  CHECK(run.status == 0);
  CHECK(read_bytes(workspace / "status") == "1\n");
  const std::string first = read_bytes(workspace / "first");
  CHECK(first.ends_with(
      "culprit: error: disk/b.safetensors.checkpoint: expected to write the whole file, came No space "
      "left on device\n"));
  CHECK(read_bytes(workspace / "left") == "b.safetensors\nfiller\n");
  CHECK(read_bytes(workspace / "kept.safetensors") == earlier);
  CHECK(read_bytes(workspace / "second").find("nine tenths of the free disk space") != std::string::npos);
  CHECK(read_bytes(workspace / "last.safetensors") == read_bytes(workspace / "whole.safetensors"));
}

TEST_CASE("a folder that is, or becomes, read-only is one error, and the same command then succeeds",
          "[cli]") {
  const Workspace workspace;
  write_samples(workspace, 3000);
  if (!may_mount(workspace)) return;
  const Arguments fit = with(Workspace::fit(), from_list);
  succeed(workspace, Workspace::fit());
  succeed(workspace, with(fit, {"--out", "whole.safetensors"}));
  std::filesystem::create_directory(workspace / "disk");
  const std::string again = Workspace::command(with(fit, {"--out", "disk/b.safetensors"}));
  // It can be made read-only when no file on it is open for writing: between two checkpoints.
  const std::string command =
      "mount -t tmpfs small disk && cp b.safetensors disk && mount -o remount,ro disk && " + again +
      " 2>first; echo $? >status; mount -o remount,rw disk; " + again +
      " 2>second & running=$!; until [ -e disk/b.safetensors.checkpoint ]; do :; done; "
      "until mount -o remount,ro disk 2>/dev/null; do :; done; "
      "wait $running; echo $? >>status; cp disk/b.safetensors kept.safetensors; "
      "mount -o remount,rw disk && " +
      again + " 2>third && cp disk/b.safetensors last.safetensors && ls -A disk >left";
  const Run run = workspace.shell(mounting + "sh -c " + Workspace::quoted(command));
  INFO(run.err);
  CHECK(run.status == 0);
  CHECK(read_bytes(workspace / "status") == "1\n1\n");
  CHECK(read_bytes(workspace / "first") ==
        "culprit: error: disk/b.safetensors: expected a folder that can be written to, came Read-only file "
        "system\n");
  CHECK(read_bytes(workspace / "second").find(", came Read-only file system\n") != std::string::npos);
  CHECK(read_bytes(workspace / "kept.safetensors") == read_bytes(workspace / "b.safetensors"));
  CHECK(read_bytes(workspace / "last.safetensors") == read_bytes(workspace / "whole.safetensors"));
  CHECK(read_bytes(workspace / "left") == "b.safetensors\n");
}

TEST_CASE("the processes that torchrun starts fit what one process does, also when one dies", "[cli]") {
  CULPRIT_REQUIRE_PYTHON("torch");
  const Workspace workspace;
  write_samples(workspace, 3000);
  const Arguments fit = with(with(Workspace::fit(), from_list), {"--standardize", "robust"});
  succeed(workspace, fit);
  const std::string whole = read_bytes(workspace / "b.safetensors");
  const Arguments together = with(fit, {"--out", "together.safetensors"});
  const std::string process = Workspace::command(together);
  const std::string dying = "if [ $RANK$TORCHELASTIC_RESTART_COUNT = 20 ]; then " +
                            Workspace::command(together, "timeout -s KILL 1") + "; kill -9 $BASHPID; fi; " +
                            process;
  const std::string python = "'" CULPRIT_PYTHON "' ";
  const std::string one_machine =
      python + "-m torch.distributed.run --no-python --nproc-per-node 4 --standalone --local-addr 127.0.0.1 ";
  const std::string two_machines =
      "bash '" CULPRIT_SOURCE_DIR "/tests/distributed/two_machines.sh' " + python;
  for (const std::string& command : {one_machine + "bash -c " + Workspace::quoted(process),
                                     one_machine + "--max-restarts 1 bash -c " + Workspace::quoted(dying),
                                     two_machines + "bash -c " + Workspace::quoted(process)}) {
    INFO(command);
    const Run run = workspace.shell("timeout 300 " + command);
    if (run.status == 77) {
      std::cout << run.out;
      continue;
    }
    INFO(run.err);
    REQUIRE(run.status == 0);
    CHECK(run.out.find("3000 samples of 4 parts") != std::string::npos);
    CHECK(read_bytes(workspace / "together.safetensors") == whole);
    std::filesystem::remove(workspace / "together.safetensors");
    for (const std::string& name : workspace.listing()) CHECK(name.find("part-") == std::string::npos);
  }

  const Run shard =
      workspace.run(with(fit, {"--shard", "0/2"}), "RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=1");
  CHECK(shard.err ==
        "culprit: error: --shard: expected none in a job of several processes, which share the samples, came "
        "0/2\n");
}

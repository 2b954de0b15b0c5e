// SPDX-License-Identifier: MIT
//
// Runs that are cut off and go on, and runs that are parts of one.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"
#include "data/image.hpp"
#include "data/png.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
using culprit::test::write_bytes;
namespace io = culprit::io;

/// The largest difference of the tensors' values, as shares of the first's.
double relative_difference(const io::Safetensors& a, const io::Safetensors& b, const char* tensor) {
  const auto left = a.values<double>(tensor), right = b.values<double>(tensor);
  REQUIRE(left.size() == right.size());
  double largest = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] != right[i]) largest = std::max(largest, std::abs(left[i] - right[i]) / std::abs(left[i]));
  }
  return largest;
}

}  // namespace

TEST_CASE("fit goes on where it was cut off, to the same bytes", "[cli]") {
  const Workspace workspace;
  std::string list;
  constexpr int pictures = 7;
  for (int i = 0; i < pictures; ++i)
    workspace.write_picture("pictures/" + std::to_string(i) + ".png", Workspace::side, Workspace::side, 1);
  constexpr int samples = 1200;
  for (int i = 0; i < samples - 1; ++i)
    list += "pictures/" + std::to_string(i % pictures) + ".png\t" + std::to_string(i % 10) + '\n';
  write_bytes(workspace / "list.tsv", list + "pictures/last.png\t3\n");
  write_bytes(workspace / "other.tsv", list + "pictures/last.png\t4\n");
  const Arguments fit = with(Workspace::fit(), {"--data", "list:list.tsv", "--standardize", "robust"});
  const auto checkpoint = workspace / "b.safetensors.checkpoint";
  const std::string broken = read_bytes(workspace / "pictures/0.png").substr(0, 60);

  write_bytes(workspace / "pictures/last.png", broken);
  const Run cut_off = workspace.run(fit);
  CHECK(cut_off.status == 1);
  CHECK(cut_off.err.find("last.png") != std::string::npos);
  REQUIRE(std::filesystem::exists(checkpoint));
  CHECK_FALSE(std::filesystem::exists(workspace / "b.safetensors"));
  const std::string saved = read_bytes(checkpoint);

  const Run other = workspace.run(with(fit, {"--batch", "32"}));
  CHECK(other.status == 1);
  CHECK(other.err ==
        "culprit: error: b.safetensors.checkpoint: expected a checkpoint of batch \"32\" (--fresh starts "
        "over), "
        "came \"64\"\n");
  for (const Arguments& change : {Arguments{"--aggregate", "l2_norm"},
                                  {"--target", "predicted"},
                                  {"--seed", "1"},
                                  {"--shard", "0/2"},
                                  {"--shard", "1/2"},
                                  {"--limit", "1100"},
                                  {"--dtype", "float64"},
                                  {"--standardize", ""},
                                  {"--non-finite", "skip"},
                                  {"--engine", "loop"},
                                  {"--data", "list:other.tsv"}}) {
    INFO(change[0] << ' ' << change[1]);
    const Run changed = workspace.run(with(fit, change));
    CHECK(changed.status == 1);
    CHECK(changed.err.find("expected a checkpoint of ") != std::string::npos);
  }
  std::string weights = read_bytes(workspace / "weights.safetensors");
  weights.back() ^= 1;
  write_bytes(workspace / "other.safetensors", weights);
  CHECK(workspace.run(with(fit, {"--model", "resnet8_fashion:other.safetensors"}))
            .err.find("expected a checkpoint of values of the model ") != std::string::npos);
  write_bytes(checkpoint, saved.substr(0, saved.size() - 1));
  CHECK(workspace.run(fit).err.find("--fresh starts over") != std::string::npos);
  std::string flipped = saved;
  flipped.back() ^= 1;
  write_bytes(checkpoint, flipped);
  CHECK(workspace.run(fit).err.find("came another checksum") != std::string::npos);
  write_bytes(checkpoint, saved);

  write_bytes(workspace / "pictures/last.png", read_bytes(workspace / "pictures/1.png"));
  const Run rest = succeed(workspace, fit);
  CHECK(rest.out.find("went on     from 1024 samples of an earlier run") != std::string::npos);
  CHECK(rest.out.find("fitted      176 samples") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(checkpoint));
  const std::string in_two = read_bytes(workspace / "b.safetensors");

  Arguments fresh = with(fit, {"--out", "whole.safetensors"});
  fresh.emplace_back("--fresh");
  write_bytes(workspace / "whole.safetensors.checkpoint", "nothing of use");
  const Run whole = succeed(workspace, fresh);
  CHECK(whole.out.find("went on") == std::string::npos);
  CHECK(read_bytes(workspace / "whole.safetensors") == in_two);
  CHECK_FALSE(std::filesystem::exists(workspace / "whole.safetensors.checkpoint"));
}

TEST_CASE("the merged shards are the whole, whatever their order and number", "[cli]") {
  const Workspace workspace;
  const Arguments robust = with(Workspace::fit(), {"--standardize", "robust", "--batch", "2"});
  succeed(workspace, robust);
  const std::string whole = read_bytes(workspace / "b.safetensors");
  for (const int shards : {1, 4, 20}) {  // of 6 batches: 20 leave some empty
    Arguments merge{"merge", "--out", "merged.safetensors"};
    for (int shard = shards - 1; shard >= 0; --shard) {
      const std::string part = std::to_string(shard) + ".safetensors";
      succeed(workspace,
              with(robust, {"--out", part, "--shard", std::to_string(shard) + '/' + std::to_string(shards)}));
      merge.push_back(part);
    }
    const Run run = succeed(workspace, merge);
    CHECK(run.out.find("12 samples of " + std::to_string(shards) + " parts") != std::string::npos);
    CHECK(read_bytes(workspace / "merged.safetensors") == whole);
  }
}

TEST_CASE("parts that are no whole are refused in one line", "[cli]") {
  const Workspace workspace;
  const auto fit = [&](const std::string& out, const Arguments& changes) {
    succeed(workspace, with(with(Workspace::fit(), {"--out", out, "--batch", "2"}), changes));
  };
  fit("0.safetensors", {"--shard", "0/3"});
  fit("1.safetensors", {"--shard", "1/3"});
  fit("2.safetensors", {"--shard", "2/3"});
  fit("half.safetensors", {"--shard", "0/2"});
  fit("fewer.safetensors", {"--shard", "2/3", "--limit", "11"});
  fit("wide.safetensors", {"--shard", "2/3", "--dtype", "float64"});
  fit("other.safetensors", {"--shard", "2/3", "--aggregate", "l2_norm"});
  const auto refused = [&](const Arguments& parts) {
    Arguments merge{"merge", "--out", "merged.safetensors"};
    merge.insert(merge.end(), parts.begin(), parts.end());
    const Run run = workspace.run(merge);
    CHECK(run.status == 1);
    CHECK_FALSE(std::filesystem::exists(workspace / "merged.safetensors"));
    return run.err;
  };
  const std::string a = "0.safetensors", b = "1.safetensors", c = "2.safetensors";
  CHECK(refused({a, c}) ==
        "culprit: error: parts: expected each chosen sample in one of them, came none with samples 4 to 7\n");
  CHECK(refused({b, c}).find("came none with samples 0 to 3") != std::string::npos);
  CHECK(refused({b, a}).find("came none with samples 8 to 11") != std::string::npos);
  CHECK(refused({a, b, b, c}) ==
        "culprit: error: 1.safetensors: expected samples from 8 on, behind 1.safetensors, came sample 4 a "
        "second time\n");
  CHECK(refused({"half.safetensors", b, c}).find("expected samples from 6 on") != std::string::npos);
  CHECK(refused({a, b, "fewer.safetensors"}).find("chosen samples") != std::string::npos);
  CHECK(refused({a, b, "wide.safetensors"}) ==
        "culprit: error: wide.safetensors: expected dtype float32, as in 0.safetensors, came float64\n");
  CHECK(refused({a, b, "other.safetensors"}).find("other.safetensors: expected ") != std::string::npos);
  CHECK(refused({a, "weights.safetensors"}).find("weights.safetensors, metadata data") != std::string::npos);

  // The numbers in a part are not taken on trust.
  const auto told = [&](const std::string& key, const std::string& value) {
    const auto file = io::Safetensors::open(workspace / b);
    auto metadata = file.metadata();
    if (key == "data") {
      std::string& data = metadata.at("data");
      data.replace(data.find("\"first\":4"), 9, "\"first\":" + value);
    } else {
      metadata[key] = value;
    }
    std::vector<std::pair<std::string, io::TensorView>> tensors;
    for (const std::string& name : file.names()) tensors.emplace_back(name, file.at(name));
    io::write_safetensors(workspace / "told.safetensors", tensors, metadata);
    return refused({a, "told.safetensors", c});
  };
  for (const char* const first : {"-1", "9", "9223372036854775807", "\"4\"", "null"})
    CHECK(told("data", first).find("told.safetensors") != std::string::npos);
  for (const char* const right : {"-1", "5", "x", "{}"})
    CHECK(told("right", right).find("told.safetensors") != std::string::npos);
  for (const char* const skipped : {"-1", "1", "[]"})
    CHECK(told("skipped", skipped).find("told.safetensors") != std::string::npos);

  for (const char* const wrong : {"3/3", "0/0", "1", "a/2", "1/", "/2", "-1/2"})
    CHECK(workspace.run(with(Workspace::fit(), {"--shard", wrong})).status == 2);
}

TEST_CASE("samples whose gradients are not finite are refused, skipped or kept, as told", "[cli]") {
  const Workspace workspace;
  // One bright pixel overflows what is 0 everywhere else.
  const auto picture = [&](const std::string& name, std::uint8_t pixel) {
    culprit::data::Image image = culprit::data::make_image(28, 28, 1, "test");
    std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t{0});
    image.pixels[400] = pixel;
    culprit::data::write_png(workspace / name, image);
  };
  picture("black.png", 0);
  picture("bright.png", 255);
  write_bytes(workspace / "list.tsv", "black.png\t3\nbright.png\t3\nblack.png\t4\nblack.png\t5\n");
  write_bytes(workspace / "black.tsv", "black.png\t3\nblack.png\t4\nblack.png\t5\n");
  const Arguments fit = with(Workspace::fit(), {"--data", "list:list.tsv", "--preset", "", "--mean", "0",
                                                "--std", "1e-38", "--standardize", "robust"});
  const Run refused = workspace.run(fit);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("NaN or infinity in ") != std::string::npos);

  write_bytes(workspace / "bright.tsv", "bright.png\t3\n");
  const Run none = workspace.run(with(fit, {"--non-finite", "skip", "--data", "list:bright.tsv"}));
  CHECK(none.status == 1);
  CHECK(none.err.find("expected at least one sample with finite gradients, came none") != std::string::npos);

  const Run skipped = succeed(workspace, with(fit, {"--non-finite", "skip"}));
  CHECK(skipped.out.find("skipped     1 with NaN or infinity") != std::string::npos);
  succeed(workspace, with(fit, {"--data", "list:black.tsv", "--out", "black.safetensors"}));
  const auto some = io::Safetensors::open(workspace / "b.safetensors");
  const auto black = io::Safetensors::open(workspace / "black.safetensors");
  CHECK(some.read<std::int64_t>("count") == std::vector<std::int64_t>{3});
  CHECK(some.metadata().at("skipped") == "1");
  CHECK_FALSE(black.metadata().contains("skipped"));
  CHECK(relative_difference(black, some, "mean") <= 1e-6);  // in a batch of another size

  const auto rows = [&](const std::string& what) {
    Arguments profile =
        with(with(fit, {"--standardize", ""}), {"--non-finite", what, "--out", "p.safetensors"});
    profile.front() = "profile";
    succeed(workspace, profile);
    const auto file = io::Safetensors::open(workspace / "p.safetensors");
    const auto values = file.values<float>("profile");
    const auto bad =
        std::count_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    CHECK((bad > 0) == (what == "keep"));
    CHECK(io::parse_json(file.metadata().at("paths"), "paths").items().size() ==
          static_cast<std::size_t>(file.at("label").shape[0]));
    CHECK(file.metadata().contains("skipped") == (what == "skip"));
    return file.read<std::int64_t>("label");
  };
  CHECK(rows("skip") == std::vector<std::int64_t>{3, 4, 5});
  CHECK(rows("keep") == std::vector<std::int64_t>{3, 3, 4, 5});
}

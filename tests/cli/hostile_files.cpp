// SPDX-License-Identifier: MIT
//
// Files from strangers, of every kind that the program reads: truncated, of other types, with numbers that
// cannot be. Each is refused in one line that names the file and what is wrong in it.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/bad_input.hpp"
#include "cli/workspace.hpp"
#include "culprit/io/checkpoint.hpp"
#include "culprit/io/safetensors.hpp"
#include "support/not_finite.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::BadInput;
using culprit::test::check;
using culprit::test::infinity;
using culprit::test::not_a_number;
using culprit::test::read_bytes;
using culprit::test::succeed;
using culprit::test::with;
using culprit::test::Workspace;
using culprit::test::write_bytes;
namespace io = culprit::io;

struct Tensor {
  io::Dtype dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
Tensor tensor_of(const std::vector<T>& values) {
  return {io::dtype_of<T>(), {static_cast<std::int64_t>(values.size())}, bytes_of(values)};
}

/// A safetensors file's tensors and metadata, to be changed.
struct Contents {
  explicit Contents(const std::filesystem::path& path) {
    const auto file = io::Safetensors::open(path);
    metadata = file.metadata();
    for (const std::string& name : file.names()) {
      const io::TensorView& view = file.at(name);
      tensors[name] = {
          view.dtype, view.shape, {reinterpret_cast<const char*>(view.data.data()), view.data.size()}};
    }
  }
  void write(const std::filesystem::path& path) const {
    std::vector<std::pair<std::string, io::TensorView>> views;
    for (const auto& [name, tensor] : tensors)
      views.emplace_back(name,
                         io::TensorView{tensor.dtype, tensor.shape, std::as_bytes(std::span(tensor.bytes))});
    io::write_safetensors(path, views, metadata);
  }
  template <class T>
  void set_first(const std::string& name, T value) {
    tensors.at(name).bytes.replace(0, sizeof value, bytes_of(std::vector{value}));
  }

  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

using Change = std::function<void(Contents&)>;

Change without(const std::string& name) {
  return [name](Contents& file) { file.tensors.erase(name); };
}
Change without_metadata(const std::string& key) {
  return [key](Contents& file) { file.metadata.erase(key); };
}
Change metadata(const std::string& key, const std::string& text) {
  return [key, text](Contents& file) { file.metadata.at(key) = text; };
}
template <class T>
Change tensor(const std::string& name, const std::vector<T>& values) {
  return [name, values](Contents& file) { file.tensors.at(name) = tensor_of(values); };
}
template <class T>
Change first(const std::string& name, T value) {
  return [name, value](Contents& file) { file.set_first(name, value); };
}

/// The bytes of a safetensors file: the header's length, the header, the data.
std::string raw(const std::string& header, const std::string& data = "") {
  return bytes_of(std::vector{static_cast<std::uint64_t>(header.size())}) + header + data;
}

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST_CASE("files from strangers are refused in one line that names the file", "[cli]") {
  const Workspace workspace;
  succeed(workspace, Workspace::fit());
  succeed(workspace, with(Workspace::fit(), {"--standardize", "robust", "--out", "r.safetensors"}));
  succeed(workspace, with(Workspace::profile(), {"--baseline", "b.safetensors"}));
  std::vector<BadInput> inputs;

  // A case is known by its file's name.
  const auto changed = [&](const std::string& from, const std::string& name, const Change& change) {
    Contents file(workspace / from);
    change(file);
    file.write(workspace / name);
  };
  const auto baseline = [&](const std::string& name, const Change& change, const std::string& error) {
    changed("b.safetensors", name, change);
    inputs.push_back({name, with(Workspace::explain(), {"--baseline", name}), 1, name + error});
  };
  baseline("no mean", without("mean"), R"(: expected the tensor "mean", came 2 tensors without it)");
  baseline("no std", without("std"), R"(: expected the tensor "std", came 2 tensors without it)");
  baseline("no count", without("count"), R"(: expected the tensor "count", came 2 tensors without it)");
  baseline("no units", without_metadata("units"), R"(: expected metadata "units", came none)");
  baseline("no fingerprint", without_metadata("fingerprint"),
           R"(: expected metadata "fingerprint", came none)");
  baseline("another format", metadata("format", "culprit.baseline/9"),
           ": expected format culprit.baseline/1, came culprit.baseline/9");
  baseline("units cut", metadata("units", R"([{"name":"a")"),
           ", metadata units, byte 12: expected ',' or '}', came the end of the text");
  baseline("half a unit", metadata("units", R"([{"name":"a","shape":[],"count":1.5,"size":1}])"),
           ", JSON value: expected a 64-bit integer, came a number that is no 64-bit integer");
  baseline("units beyond count",
           metadata("units", R"([{"name":"a","shape":[],"count":)" + std::to_string(most) +
                                 R"(,"size":1},{"name":"b","shape":[],"count":1,"size":1}])"),
           ", b: expected a number of units that an index can count, came 1 more than 9223372036854775807");
  baseline("a layer twice",
           metadata("units", R"([{"name":"a","shape":[],"count":1,"size":1},)"
                             R"({"name":"a","shape":[],"count":1,"size":1}])"),
           ", a: expected each parameter once, came the same name twice");
  baseline("other units", metadata("units", "[]"), ", baseline: expected 0 units, came 240");
  baseline(
      "deep units", metadata("units", std::string(70, '[')),
      ", metadata units, byte 64: expected at most 64 arrays and objects inside each other, came one more");
  baseline(
      "no hash",
      metadata("fingerprint", R"({"tensors":{"a":"xyz"},"aggregation":"","loss":"","preprocessing":""})"),
      R"(, hash: expected up to 16 hexadecimal digits, came "xyz")");
  baseline("two counts", tensor<std::int64_t>("count", {1, 2}), ", tensor count: expected 1 value, came 2");
  baseline("negative count", first<std::int64_t>("count", -1),
           ", count: expected a number of samples >= 0, came -1");
  baseline("count of doubles", tensor<double>("count", {12}),
           R"(, tensor "count": expected I64 values, came F64)");
  baseline("mean of floats", tensor("mean", std::vector<float>(240)),
           R"(, tensor "mean": expected F64 values, came F32)");
  baseline("NaN", first("mean", not_a_number), ", tensor mean: expected finite values, came NaN or infinity");
  baseline("negative std", first("std", -1.0), ", std of unit 0: expected a number >= 0, came -1.000000");
  baseline("short std", tensor<double>("std", {1, 2}), ", std: expected 240 values, as many as mean, came 2");
  baseline(
      "negative skipped", [](Contents& file) { file.metadata["skipped"] = "-3"; },
      ", skipped: expected a number of samples >= 0, came -3");

  const auto robust = [&](const std::string& name, const Change& change, const std::string& error) {
    changed("r.safetensors", name, change);
    const Arguments explain = with(Workspace::explain(), {"--standardize", "robust", "--baseline", name});
    inputs.push_back({name, explain, 1, name + error});
  };
  robust("no keys", without("quantile_keys"),
         R"(: expected the tensor "quantile_keys", came 5 tensors without it)");
  robust("negative ends", first<std::int64_t>("quantile_ends", -1),
         ", tensor quantile_ends: expected ascending from 0 to " +
             std::to_string(Contents(workspace / "r.safetensors").tensors.at("quantile_keys").shape[0]) +
             ", came -1");
  robust("no samples", first<std::int64_t>("quantile_counts", 0),
         ", quantiles of unit 0: expected a number of samples above 0, came 0");
  robust("fewer units", tensor<std::int64_t>("quantile_ends", {1}), ", baseline: expected 240 units, came 1");

  const auto store = [&](const std::string& name, const Change& change, const std::string& error) {
    changed("p.safetensors", name, change);
    inputs.push_back(
        {name, with(Workspace::neighbors(), {"--profiles", name, "--queries", "0"}), 1, name + error});
  };
  store("no z", without("z"), ": expected the tensor z, which culprit profile --baseline writes, came none");
  store("no label", without("label"), R"(: expected the tensor "label", came 5 tensors without it)");
  store("no paths", without_metadata("paths"), R"(: expected metadata "paths", came none)");
  store("one path", metadata("paths", R"(["a"])"), ", metadata paths: expected 12, one for each row, came 1");
  store("two labels", tensor<std::int64_t>("label", {1, 2}),
        R"(, tensor "label": expected 12 values, as "z", came [2])");
  store("label of doubles", tensor("label", std::vector<double>(12)),
        R"(, tensor "label": expected I64 values, came F64)");
  store(
      "turned", [](Contents& file) { std::ranges::reverse(file.tensors.at("z").shape); },
      R"(, tensor "z": expected [N, 240], a value for each unit, came [240, 12])");
  store(
      "no classes",
      [](Contents& file) {
        file.tensors.at("logits") = {io::Dtype::F32, {12, 0}, ""};
      },
      R"(, tensor "logits": expected 12 rows, as "z", came [12, 0])");
  changed("p.safetensors", "NaN in z", first("z", not_a_number));
  inputs.push_back({"NaN in z", with(Workspace::neighbors(), {"--profiles", "NaN in z", "--queries", "0"}), 1,
                    "query 0: expected finite numbers, came NaN or infinity"});

  const auto header = [&](const std::string& name, const std::string& bytes, const std::string& error) {
    write_bytes(workspace / name, bytes);
    inputs.push_back({name, {"merge", name, "--out", "m.safetensors"}, 1, name + error});
  };
  header("nothing", "", ", byte 0: expected 8 bytes that hold the header's length, came 0 bytes in all");
  header("endless header", std::string(8, '\xff') + "{}",
         ", byte 0: expected a header of at most 2 bytes, came 18446744073709551615");
  header("no object", raw("[]"), R"(, byte 8: expected a header that begins with '{', came "[")");
  header("negative extent", raw(R"({"z":{"dtype":"F64","shape":[-1],"data_offsets":[0,0]}})"),
         ", byte 37: expected an integer from 0 to 2^63 - 1, came another number");
  header("overflow", raw(R"({"z":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
         R"(, byte 75, tensor "z": expected a size that memory holds for F64 of shape )"
         "[4294967296, 4294967296], came data_offsets [0, 0]");
  header("beyond the end", raw(R"({"z":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})"),
         R"(, byte 55, tensor "z": expected an end within 0 bytes of data, came data_offsets [0, 8])");
  header("a hole", raw(R"({"z":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "ab"),
         R"(, byte 54, tensor "z": expected data that begins where the tensor before it ends, at 0, )"
         "came data_offsets [1, 2]");
  header("more data", raw("{}", "ab"),
         ", byte 10: expected the end of the file after the last tensor, came 2 more bytes");
  header("a tensor twice",
         raw(R"({"z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
             R"("z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
         R"(, byte 106: expected each tensor once, came "z" again)");
  header("unknown type", raw(R"({"z":{"dtype":"F65","shape":[],"data_offsets":[0,0]}})"),
         R"(, byte 22: expected a dtype of BOOL, U8 to F64, F16 or BF16, came "F65")");

  const auto data = [&](const std::string& name, const std::string& file, const std::string& bytes,
                        const std::string& error) {
    std::filesystem::create_directories((workspace / file).parent_path());
    write_bytes(workspace / file, bytes);
    inputs.push_back({name, with(Workspace::fit(), {"--data", name}), 1, file + error});
  };
  data("cifar10:part", "part/test_batch.bin", std::string(100, '\0'),
       ": expected records of 3073 bytes, came 100 bytes in all");
  data("cifar10:label", "label/test_batch.bin", '\x0a' + std::string(3072, '\0'),
       ", byte 0: expected a label from 0 to 9, came 10");
  data("idx:empty", "empty/t10k-images-idx3-ubyte", "",
       R"(, byte 0: expected IDX magic "\x00\x00\x08\x03", came "")");
  data("idx:floats", "floats/t10k-images-idx3-ubyte", std::string("\0\0\x0d\x03", 4) + std::string(12, '\0'),
       R"(, byte 0: expected IDX magic "\x00\x00\x08\x03", came "\x00\x00\x0d\x03")");
  data("idx:short", "short/t10k-images-idx3-ubyte", std::string("\0\0\x08\x03\0", 5),
       ": expected 16 bytes of IDX header, came 5");
  data("idx:huge", "huge/t10k-images-idx3-ubyte", std::string("\0\0\x08\x03", 4) + std::string(12, '\xff'),
       ", byte 8: expected extents from 1, at most 2^40 values in all, came 4294967295");
  data("idx:gzip", "gzip/t10k-images-idx3-ubyte", "\x1f\x8b\x08" + std::string("\0garbagegarbage", 15),
       ": expected whole gzip data, came ...");
  data("list:none.tsv", "none.tsv", "", ": expected lines 'path TAB label', came none");
  data("list:label.tsv", "label.tsv", "a.png\t99999999999999999999\n",
       R"(, line 1: expected path, TAB, label (an integer from 0), came "a.png\x0999999999999999999999")");
  data("list:control.tsv", "control.tsv", "\x1b[31m\n",
       R"(, line 1: expected path, TAB, label (an integer from 0), came "\x1b[31m")");
  data(
      "list:above.tsv", "above.tsv", "digits/../../a.png\t1\n",
      R"(, line 1: expected a path within the list's folder (list:FILE#ROOT sets another), came "digits/../../a.png")");
  data(
      "list:root.tsv", "root.tsv", "/etc/hostname\t1\n",
      R"(, line 1: expected a path within the list's folder (list:FILE#ROOT sets another), came "/etc/hostname")");
  const auto classes = [&](const std::string& name, const std::string& text, const std::string& error) {
    write_bytes(workspace / name, text);
    inputs.push_back({name, with(Workspace::fit(), {"--classes", name}), 1, name + error});
  };
  classes("none.txt", "", ": expected lines 'index name...', came none");
  classes("word.txt", "zebra\n", R"(, line 1: expected 'index name...', came "zebra")");
  classes("index.txt", "0 a\n0 b\n", ", line 2: expected an index of its own, came 0 again");
  classes("name.txt", "0 a\n1 a\n", R"(, line 2: expected a first name of its own, came "a" again)");

  const std::filesystem::path corpus = std::filesystem::path(CULPRIT_SOURCE_DIR) / "tests/fuzz/corpus";
  const auto picture = [&](const std::string& name, const std::string& bytes, const std::string& error) {
    write_bytes(workspace / name, bytes);
    const Arguments arguments = with(Workspace::profile(), {"--data", "", "--image", name, "--label", "1"});
    inputs.push_back({name, arguments, 1, name + error});
  };
  const std::string jpeg = read_bytes(corpus / "jpeg/grey"), png = read_bytes(corpus / "png/l");
  picture("half.jpg", jpeg.substr(0, jpeg.size() / 2),
          ": expected a whole JPEG, came Premature end of JPEG file");
  picture("promise.jpg", read_bytes(corpus / "jpeg/promise"),
          ": expected at most 512 pixels for each of its " +
              std::to_string(read_bytes(corpus / "jpeg/promise").size()) + " bytes, came 16000 x 16000");
  picture("magic.png", png.substr(0, 8), ": expected a whole PNG, came premature end of file");
  picture("end.png", png.substr(0, png.size() - 4), ": expected a whole PNG, came premature end of file");
  picture("promise.png", read_bytes(corpus / "png/promise"),
          ": expected at most 1032 bytes of pixels for each of its " +
              std::to_string(read_bytes(corpus / "png/promise").size()) +
              " bytes, came 16000 x 16000 pixels");
  picture("wide.png", read_bytes(corpus / "png/wide"),
          ": expected 1 to 268435456 pixels, came 2147483647 x 1");
  picture("empty.png", "",
          R"(: expected a JPEG ("\xff\xd8\xff"...) or PNG ("\x89PNG"...), came an empty file)");

  const auto checkpoint = [&](const std::string& name, const std::string& bytes, const std::string& error) {
    const std::string file = name + ".checkpoint";
    write_bytes(workspace / file, bytes);
    inputs.push_back({file, with(Workspace::fit(), {"--out", name}), 1, file + error});
  };
  checkpoint(
      "words", "words",
      ", byte 0: expected 8 bytes that hold the header's length (--fresh starts over), came 5 bytes in "
      "all");
  checkpoint("other job", read_bytes(corpus / "checkpoint/same_job"),
             R"(: expected a checkpoint of aggregation "mean_abs" (--fresh starts over), came none)");
  checkpoint("no job", read_bytes(corpus / "checkpoint/job_no_json"),
             ", byte 9: expected a JSON value (--fresh starts over), came the end of the text");
  checkpoint("number", read_bytes(corpus / "checkpoint/job_of_numbers"),
             ", job: expected a string (--fresh starts over), came an integer");
  checkpoint("format", read_bytes(corpus / "checkpoint/other_format"),
             R"(: expected format culprit.checkpoint/1 (--fresh starts over), came "culprit.checkpoint/9")");

  CHECK(inputs.size() >= 60);
  check(workspace, inputs);
}

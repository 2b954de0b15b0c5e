// SPDX-License-Identifier: MIT
//
// Bad input: one line that says what is wrong, the exit status, and nothing left behind.
#include "cli/bad_input.hpp"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/workspace.hpp"
#include "culprit/io/safetensors.hpp"

namespace {

using culprit::test::Arguments;
using culprit::test::check;
using culprit::test::read_bytes;
using culprit::test::Run;
using culprit::test::with;
using culprit::test::Workspace;
using culprit::test::write_bytes;
namespace io = culprit::io;

/// The demo's weights with one value of a tensor replaced.
void write_weights(const Workspace& workspace, const std::string& name, const std::string& tensor,
                   float value) {
  const auto file = io::Safetensors::open(Workspace::weights_file());
  std::vector<float> values = file.read<float>(tensor);
  values.at(1) = value;
  std::vector<std::pair<std::string, io::TensorView>> tensors;
  for (const std::string& each : file.names()) {
    tensors.emplace_back(each, each == tensor
                                   ? io::view_of(std::span<const float>(values), file.at(each).shape)
                                   : file.at(each));
  }
  io::write_safetensors(workspace / name, tensors, {});
}

/// The demo's weights without one tensor, with an additional one, and with one of another shape.
void write_other_tensors(const Workspace& workspace, const std::string& name) {
  const auto file = io::Safetensors::open(Workspace::weights_file());
  std::vector<std::pair<std::string, io::TensorView>> tensors;
  for (const std::string& each : file.names()) {
    io::TensorView tensor = file.at(each);
    if (each == "bn1.bias") continue;
    if (each == "linear.weight") tensor.shape = {tensor.shape[1], tensor.shape[0]};
    tensors.emplace_back(each, tensor);
  }
  tensors.emplace_back("head.bias", file.at("linear.bias"));
  io::write_safetensors(workspace / name, tensors, {});
}

/// As the first eight bytes of a safetensors file say.
std::string header_length(const std::filesystem::path& path) {
  std::uint64_t length = 0;
  std::memcpy(&length, read_bytes(path).data(), sizeof length);
  return std::to_string(length);
}

void cut(const Workspace& workspace, const std::string& from, const std::string& to, std::size_t bytes) {
  write_bytes(workspace / to, read_bytes(workspace / from).substr(0, bytes));
}

}  // namespace

TEST_CASE("wrong usage is one line and exit status 2", "[cli]") {
  const Workspace workspace;
  const Arguments fit = Workspace::fit();
  const Arguments explain = Workspace::explain();
  const std::string models =
      "resnet20, resnet32, resnet44, resnet56, resnet18_cifar, resnet18, resnet50, vgg19, vgg19_bn, "
      "mobilenet_v1_025, resnet8_fashion";
  const std::string of_fit = " (see culprit fit --help)";
  const Arguments mask = Workspace::mask();
  const std::string of_explain = " (see culprit explain --help)";
  const std::string of_experiment = " (see culprit experiment --help)";
  check(workspace,
        {
            {"no command", {}, 2, "A subcommand is required (see culprit --help)"},
            {"no option", {"fit"}, 2, "--model is required" + of_fit},
            {"unknown option", with(fit, {"--images", "x"}), 2,
             "The following arguments were not expected: x --images" + of_fit},
            {"unknown model", with(fit, {"--model", "resnet99:weights.safetensors"}), 2,
             "--model: expected FILE.pt, or NAME:WEIGHTS.safetensors with NAME one of " + models +
                 ", came 'resnet99:weights.safetensors'" + of_fit},
            {"unknown kind of data", with(fit, {"--data", "svhn:digits"}), 2,
             "--data: expected folder:DIR, cifar10:DIR, idx:DIR or list:FILE, came 'svhn:digits'" + of_fit},
            {"no data", with(fit, {"--data", ""}), 2, "--data is required" + of_fit},
            {"unknown preset", with(fit, {"--preset", "mnist"}), 2,
             "--preset: expected one of cifar10, imagenet, fashion, came 'mnist'" + of_fit},
            {"no preprocessing", with(fit, {"--preset", ""}), 2,
             "--preset, or --mean and --std (and --resize, --crop), is required" + of_fit},
            {"preset and crop", with(fit, {"--crop", "20"}), 2,
             "--preset excludes --resize, --crop, --mean and --std" + of_fit},
            {"limit 0", with(fit, {"--limit", "0"}), 2,
             "--limit: expected a whole number from 1, came '0'" + of_fit},
            {"unknown dtype", with(fit, {"--dtype", "float16"}), 2,
             "--dtype: expected one of float32, float64, came 'float16'" + of_fit},
            {"unknown target", with(fit, {"--target", "-1"}), 2,
             "--target: expected label, predicted or a class index, came '-1'" + of_fit},
            {"unknown units", with(fit, {"--units", "rows"}), 2,
             "--units: expected filters, neurons, weights, or heads:N for attentions of N heads, came "
             "'rows'" +
                 of_fit},
            {"no heads", with(explain, {"--units", "heads:0"}), 2,
             "--units: expected filters, neurons, weights, or heads:N for attentions of N heads, came "
             "'heads:0'" +
                 of_explain},
            {"unknown device", with(fit, {"--device", "gpu"}), 2,
             "--device: expected cpu, cuda or cuda:N, came 'gpu'" + of_fit},
            {"image without label", with(explain, {"--data", "", "--image", "x.png"}), 2,
             "--image requires --label" + of_explain},
            {"image and data", with(explain, {"--image", "x.png", "--label", "1"}), 2,
             "--data excludes --image" + of_explain},
            {"no baseline", with(explain, {"--baseline", ""}), 2, "--baseline is required" + of_explain},
            {"a distance without gradient", with(explain, {"--distance", "spearman"}), 2,
             "--distance: expected one of cosine, euclidean, came 'spearman'" + of_explain},
            {"unknown colours", with(explain, {"--colors", "hot"}), 2,
             "--colors: expected one of viridis, jet, came 'hot'" + of_explain},
            {"boost that is no number", with(explain, {"--boost", "nan"}), 2,
             "--boost: expected a number from 0, came 'nan'" + of_explain},
            {"negative noise", with(explain, {"--noise-std", "-1"}), 2,
             "--noise-std: expected a number from 0, came '-1'" + of_explain},
            {"noise without iterations", with(explain, {"--noise-std", "0.1"}), 2,
             "--noise-iters and --noise-std need each other" + of_explain},
            {"iterations without noise", with(explain, {"--noise-iters", "3", "--noise-std", "0"}), 2,
             "--noise-iters and --noise-std need each other" + of_explain},
            {"no share of the pixels", with(mask, {"--shares", "0.1,0"}), 2,
             "--shares: expected a share of all pixels, above 0 and up to 1, came '0'" + of_experiment},
            {"more than all pixels", with(mask, {"--shares", "1.5"}), 2,
             "--shares: expected a share of all pixels, above 0 and up to 1, came '1.5'" + of_experiment},
            {"a share that is no number", with(mask, {"--shares", "few"}), 2,
             "--shares: expected a share of all pixels, above 0 and up to 1, came 'few'" + of_experiment},
        });
}

TEST_CASE("models that cannot be used are refused in one line", "[cli]") {
  const Workspace workspace;
  const Arguments fit = Workspace::fit();
  cut(workspace, "weights.safetensors", "cut.safetensors", 1000);
  write_bytes(workspace / "text.safetensors", "not weights, only words");
  write_weights(workspace, "nan.safetensors", "bn1.weight", std::numeric_limits<float>::quiet_NaN());
  write_other_tensors(workspace, "other.safetensors");
  const auto model = [&](const std::string& spec) { return with(fit, {"--model", spec}); };
  check(
      workspace,
      {
          {"missing weights", model("resnet8_fashion:none.safetensors"), 1,
           "none.safetensors: expected a file that can be read, came No such file or directory"},
          {"truncated weights", model("resnet8_fashion:cut.safetensors"), 1,
           "cut.safetensors, byte 0: expected a header of at most 992 bytes, came " +
               header_length(workspace / "weights.safetensors")},
          {"no weights", model("resnet8_fashion:text.safetensors"), 1,
           "text.safetensors, byte 0: expected a header of at most 15 bytes, came 7451598620781211502"},
          {"NaN", model("resnet8_fashion:nan.safetensors"), 1,
           "nan.safetensors, tensor bn1.weight: expected finite values, came 1 of 16 that are "
           "NaN or infinite"},
          {"other tensors", model("resnet8_fashion:other.safetensors"), 1,
           "other.safetensors: expected the tensors of the model, came missing bn1.bias [16]; linear.weight "
           "of shape [64, 10] instead of [10, 64]; extra head.bias [10]"},
      });
}

TEST_CASE("data that cannot be used are refused in one line", "[cli]") {
  const Workspace workspace;
  const Arguments fit = Workspace::fit();
  workspace.write_picture("grey/a/1.png", 28, 28, 1);
  workspace.write_picture("grey/a/2.png", 28, 28, 1);
  workspace.write_picture("colour/a/1.png", 28, 28, 3);
  workspace.write_picture("sizes/a/1.png", 28, 28, 1);
  workspace.write_picture("sizes/a/2.png", 28, 30, 1);
  std::filesystem::create_directories(workspace / "empty");
  std::filesystem::create_directories(workspace / "hollow/a");
  for (const char* folder : {"cut", "corrupt", "words"}) {
    std::filesystem::create_directories(workspace / folder / "a");
    std::filesystem::copy(workspace / "grey/a/1.png", workspace / folder / "a/1.png");
  }
  std::string png = read_bytes(workspace / "grey/a/1.png");
  write_bytes(workspace / "cut/a/2.png", png.substr(0, png.size() / 2));
  png[29] = static_cast<char>(png[29] ^ 0x55);  // in the checksum of the first chunk
  write_bytes(workspace / "corrupt/a/2.png", png);
  write_bytes(workspace / "words/a/2.png", "a picture, in words");
  write_bytes(workspace / "list.tsv", "grey/a/1.png\t0\ngrey/a/9.png\t0\n");
  write_bytes(workspace / "labels.tsv", "grey/a/1.png\t0\ngrey/a/2.png\t10\n");
  write_bytes(workspace / "tabs.tsv", "grey/a/1.png 0\n");
  for (const char* folder : {"idx-cut", "idx-fewer", "idx-none"}) {
    std::filesystem::copy(workspace / "digits", workspace / folder);
  }
  cut(workspace, "digits/t10k-images-idx3-ubyte", "idx-cut/t10k-images-idx3-ubyte", 5000);
  write_bytes(workspace / "idx-fewer/t10k-labels-idx1-ubyte", std::string("\0\0\x08\x01\0\0\0\x02\1\2", 10));
  write_bytes(workspace / "idx-none/t10k-labels-idx1-ubyte", std::string("\0\0\x08\x01\0\0\0\0", 8));
  write_bytes(workspace / "idx-none/t10k-images-idx3-ubyte",
              std::string("\0\0\x08\x03\0\0\0\0\0\0\0\x1c\0\0\0\x1c", 16));
  write_bytes(workspace / "classes.txt", "0 zebra\n");
  const auto data = [&](const std::string& spec) { return with(fit, {"--data", spec}); };
  const Arguments image = with(Workspace::profile(), {"--data", ""});
  check(
      workspace,
      {
          {"missing data", data("idx:none"), 1,
           "none/t10k-images-idx3-ubyte.gz: expected a readable file, came No such file or directory"},
          {"missing folder", data("folder:none"), 1,
           "none: expected a readable folder, came No such file or directory"},
          {"empty folder", data("folder:empty"), 1,
           "empty: expected sub-folders of pictures, one for each class, came none"},
          {"folder without pictures", data("folder:hollow"), 1,
           "hollow/a: expected pictures (.jpg, .jpeg, .png), came none"},
          {"folder of no class", with(data("folder:grey"), {"--classes", "classes.txt"}), 1,
           R"(grey/a: expected a folder name that starts with the first name of a class, came "a")"},
          {"missing classes", with(data("folder:grey"), {"--classes", "none.txt"}), 1,
           "none.txt: expected a file that can be read, came No such file or directory"},
          {"truncated picture", data("folder:cut"), 1,
           "cut/a/2.png: expected a whole PNG, came premature end of file"},
          {"corrupt picture", data("folder:corrupt"), 1,
           "corrupt/a/2.png: expected a whole PNG, came IHDR: CRC error"},
          {"no picture", data("folder:words"), 1,
           R"(words/a/2.png: expected a JPEG ("\xff\xd8\xff"...) or PNG ("\x89PNG"...), came first bytes "a pictur")"},
          {"missing picture", data("list:list.tsv"), 1,
           "grey/a/9.png: expected a file that can be read, came No such file or directory"},
          {"malformed list", data("list:tabs.tsv"), 1,
           R"(tabs.tsv, line 1: expected path, TAB, label (an integer from 0), came "grey/a/1.png 0")"},
          {"label beyond the classes", data("list:labels.tsv"), 1,
           "label of grey/a/2.png: expected a class from 0 to 9, as the model has, came 10"},
          {"truncated IDX file", data("idx:idx-cut"), 1,
           "idx-cut/t10k-images-idx3-ubyte: expected 9408 values, as its header says, came 4984"},
          {"fewer labels than images", data("idx:idx-fewer"), 1,
           "idx-fewer/t10k-labels-idx1-ubyte: expected 12 labels, one for each image of "
           "t10k-images-idx3-ubyte, came 2"},
          {"no samples", data("idx:idx-none"), 1,
           "idx-none/t10k-images-idx3-ubyte, byte 4: expected extents from 1, at most 2^40 values in all, "
           "came 0"},
          {"colour for a grey model", data("folder:colour"), 1,
           "a/1.png: expected 1 channel(s), as mean and std have, came 3"},
          {"three channels for a model of one", with(data("folder:colour"), {"--preset", "cifar10"}), 1,
           "a/1.png: expected an input that the model takes, came [1, 3, 28, 28]: Given groups=1, ..."},
          {"two sizes in a batch", data("folder:sizes"), 1,
           "a/2.png: expected 28 x 28 pixels, as the rest of its batch, came 28 x 30"},
          {"smaller than the crop",
           with(data("folder:grey"), {"--preset", "", "--mean", "0.5", "--std", "0.5", "--crop", "32"}), 1,
           "a/1.png: expected at least 32 x 32 pixels to crop, came 28 x 28"},
          {"deviation 0", with(fit, {"--preset", "", "--mean", "0.5", "--std", "0"}), 1,
           "preprocessing: expected resize and crop from 0, 1 or 3 means, and as many deviations above 0, "
           "came resize=0 crop=0 mean=0.5 std=0"},
          {"missing image", with(image, {"--image", "none.png", "--label", "1"}), 1,
           "none.png: expected a file that can be read, came No such file or directory"},
          {"label of the image", with(image, {"--image", "grey/a/1.png", "--label", "10"}), 1,
           "label of grey/a/1.png: expected a class from 0 to 9, as the model has, came 10"},
          {"target beyond the classes", with(fit, {"--target", "10"}), 1,
           "--target: expected a class from 0 to 9, as the model has, came 10"},
      });
}

TEST_CASE("boxes that do not belong to the data are refused before the work starts, with their line",
          "[cli]") {
  const Workspace workspace;
  const std::string header = "path,top,left,bottom,right\n";
  const std::string sample = "t10k-images-idx3-ubyte#3,";
  const auto boxes = [&](const std::string& name, const std::string& text) {
    write_bytes(workspace / name, text);
    return with(Workspace::mask(), {"--boxes", name});
  };
  const auto outside = [](const std::string& came) {
    return ": expected a box within 28 rows and 28 columns, came " + came;
  };
  check(workspace,
        {
            {"missing", with(Workspace::mask(), {"--boxes", "none.csv"}), 1,
             "none.csv: expected a file that can be read, came No such file or directory"},
            {"empty", boxes("empty.csv", "\n"), 1,
             "empty.csv: expected path,top,left,bottom,right, came no line"},
            {"other columns", boxes("xy.csv", "path,x,y,w,h\n"), 1,
             R"(xy.csv, line 1: expected path,top,left,bottom,right, came "path,x,y,w,h")"},
            {"three numbers", boxes("three.csv", header + "1,2,3\n"), 1,
             R"(three.csv, line 2: expected a path and four whole numbers from 0, came "1,2,3")"},
            {"no number", boxes("word.csv", header + sample + "0,0,4,x\n"), 1,
             R"(word.csv, line 2: expected a path and four whole numbers from 0, came ")" + sample +
                 "0,0,4,x\""},
            {"beyond the rows", boxes("rows.csv", header + sample + "0,0,29,28\n"), 1,
             "rows.csv, line 2" + outside("rows 0 to 29, columns 0 to 28")},
            {"beyond the columns", boxes("columns.csv", header + sample + "0,20,28,30\n"), 1,
             "columns.csv, line 2" + outside("rows 0 to 28, columns 20 to 30")},
            {"nothing inside", boxes("hollow.csv", header + sample + "4,4,4,8\n"), 1,
             "hollow.csv, line 2" + outside("rows 4 to 4, columns 4 to 8")},
            {"unknown path", boxes("path.csv", header + sample + "0,0,4,4\n" + "dog.png,0,0,4,4\n"), 1,
             R"(path.csv, line 3: expected a path of the data set, came "dog.png")"},
            {"twice", boxes("twice.csv", header + sample + "0,0,4,4\n\"t10k-images-idx3-ubyte#3\",0,0,4,4\n"),
             1, R"(twice.csv, line 3: expected one box for a path, came ""t10k-images-idx3-ubyte#3"" again)"},
        });
}

TEST_CASE("baselines of something else are refused in one line that names the difference", "[cli]") {
  const Workspace workspace;
  const Arguments explain = Workspace::explain();
  write_weights(workspace, "tuned.safetensors", "linear.bias", 3.25F);
  REQUIRE(workspace.run(Workspace::fit()).status == 0);
  cut(workspace, "b.safetensors", "cut.safetensors", 1000);
  const std::string expected =
      "b.safetensors: expected one fitted to this model, units and preprocessing, came ";
  check(
      workspace,
      {
          {"missing baseline", with(explain, {"--baseline", "none.safetensors"}), 1,
           "none.safetensors: expected a file that can be read, came No such file or directory"},
          {"truncated baseline", with(explain, {"--baseline", "cut.safetensors"}), 1,
           "cut.safetensors, byte 0: expected a header of at most 992 bytes, came " +
               header_length(workspace / "b.safetensors")},
          {"no baseline", with(explain, {"--baseline", "weights.safetensors"}), 1,
           R"(weights.safetensors: expected metadata "format", came none)"},
          {"another model", with(explain, {"--model", "resnet8_fashion:tuned.safetensors"}), 1,
           expected + "other values in linear.bias"},
          {"other preprocessing", with(explain, {"--preset", "", "--mean", "0.5", "--std", "0.5"}), 1,
           expected + "preprocessing 'resize=0 crop=0 mean=0.286 std=0.353' against 'resize=0 crop=0 "
                      "mean=0.5 std=0.5'"},
          {"another aggregation", with(explain, {"--aggregate", "max_abs"}), 1,
           expected + "aggregation mean_abs against max_abs"},
          {"another target", with(explain, {"--target", "3"}), 1,
           expected + "loss cross_entropy against cross_entropy at class 3"},
          {"no quantiles", with(explain, {"--standardize", "robust"}), 1,
           "b.safetensors: expected quantiles, which culprit fit --standardize robust collects, came none"},
          {"unknown filters", with(explain, {"--filters", "best:10"}), 1,
           "--filters: expected the name of a layer with units before the colon, came 'best:10'"},
          {"a filter that is no number", with(explain, {"--filters", "3,conv1:x"}), 1,
           "--filters: expected top:K, random:K, or LAYER:CHANNEL and numbers of units between commas, came "
           "'conv1:x'"},
          {"filters beyond the layer", with(explain, {"--filters", "conv1:16"}), 1,
           "--filters: expected a channel below 16, came 'conv1:16'"},
          {"filters beyond the units", with(explain, {"--filters", "240"}), 1,
           "--filters: expected a unit below 240, came '240'"},
          {"no such layer", with(explain, {"--layers", "after:conv9"}), 1,
           "layer range: expected the name of a layer with units, came conv9"},
          {"no layer in the range", with(explain, {"--layers", "7-9"}), 1,
           "layer range: expected at least one layer of the model, came from layer 7, before layer 10, which "
           "none of its 7 layers is in"},
          {"profile too",
           with(Workspace::profile(), {"--baseline", "b.safetensors", "--target", "predicted"}), 1,
           expected + "loss cross_entropy against cross_entropy at predicted class"},
      });
}

TEST_CASE("places that cannot be written to are refused before the work starts", "[cli]") {
  const Workspace workspace;
  const Arguments fit = Workspace::fit();
  std::filesystem::create_directory(workspace / "there");
  write_bytes(workspace / "b.safetensors", "whatever: the place is looked at first");
  check(workspace,
        {
            {"no such folder", with(fit, {"--out", "none/b.safetensors"}), 1,
             "none/b.safetensors: expected a file in a folder that is there, came no folder none"},
            {"a folder", with(fit, {"--out", "there"}), 1,
             "there: expected a file to write, came a folder, device or pipe"},
            {"a device", with(fit, {"--out", "/dev/full"}), 1,
             "/dev/full: expected a file to write, came a folder, device or pipe"},
            {"a device for a folder", with(Workspace::profile(), {"--out", "/dev/full"}), 1,
             "/dev/full: expected a folder that can be made, came the file /dev/full"},
            {"below a file", with(Workspace::explain(), {"--out", "weights.safetensors/report"}), 1,
             "weights.safetensors/report: expected a folder that can be made, came the file "
             "weights.safetensors"},
            {"where no file can be made", with(fit, {"--out", "/proc/b.safetensors"}), 1,
             "/proc/b.safetensors: expected a folder that can be written to, came No such file or directory"},
            {"where no folder can be made", with(Workspace::explain(), {"--out", "/proc/report/here"}), 1,
             "/proc/report/here: expected a folder that can be written to, came No such file or directory"},
        });
}

TEST_CASE("profiles that the disk cannot hold are refused before the work starts", "[cli]") {
  const Workspace workspace;
  if (std::filesystem::space(workspace / "").available > 1000000000000U) {
    std::cout << "SKIPPED: needs a disk with less than 1 TB free\n";
    return;
  }
  workspace.write_picture("1.png", 28, 28, 1);
  std::string list;
  for (int i = 0; i < 1000000; ++i) list += "1.png\t0\n";
  write_bytes(workspace / "list.tsv", list);
  const auto before = workspace.listing();
  const Run run = workspace.run(with(Workspace::profile(), {"--data", "list:list.tsv", "--dtype", "float64",
                                                            "--aggregate", "parameter_wise"}));
  CHECK(run.status == 1);
  INFO(run.err);
  CHECK(run.err.starts_with("culprit: error: profiles of 1000000 samples: expected at most "));
  CHECK(run.err.ends_with(
      ", nine tenths of the free disk space (--store-dtype bfloat16, a smaller --limit or --shard "
      "help), came 1182 GB\n"));
  CHECK(workspace.listing() == before);
}

TEST_CASE("a CUDA device that is not there is refused in one line", "[cli]") {
  const Workspace workspace;
  const Run run = workspace.run(with(Workspace::fit(), {"--device", "cuda:77"}));
  CHECK(run.status == 1);
  const std::string place = "culprit: error: --device cuda:77: expected ";
  const bool refused = run.err == place + "a CUDA device, came none here\n" ||
                       (run.err.starts_with(place + "a number below ") && run.err.ends_with(", came 77\n"));
  INFO(run.err);
  CHECK(refused);
}

TEST_CASE("TorchScript files that cannot be used are refused in one line", "[cli]") {
  const Workspace workspace;
  if (!workspace.write_script_models()) return;
  write_bytes(workspace / "words.pt", "not a module");
  cut(workspace, "good.pt", "cut.pt", 4000);
  const auto model = [&](const std::string& spec) { return with(Workspace::fit(), {"--model", spec}); };
  check(
      workspace,
      {
          {"missing", model("none.pt"), 1, "none.pt: expected a TorchScript file, came no such file"},
          {"no module", model("words.pt"), 1,
           "words.pt: expected a TorchScript file (of torch.jit.trace or script, then .save), not "
           "weights alone, came PytorchStreamReader failed ..."},
          {"truncated", model("cut.pt"), 1,
           "cut.pt: expected a TorchScript file (of torch.jit.trace or script, then .save), not "
           "weights alone, came PytorchStreamReader failed ..."},
          {"weights alone", model("state.pt"), 1,
           "state.pt: expected a TorchScript file (of torch.jit.trace or script, then .save), not "
           "weights alone, came PytorchStreamReader failed ..."},
          {"train mode", model("training.pt"), 1,
           "training.pt: expected a module in eval mode (call .eval() before saving it), came training mode"},
          {"NaN", model("hollow.pt"), 1, "conv.weight: expected finite values, came NaN or infinity"},
          {"no parameters", model("pooling.pt"), 1,
           "model: expected a parameter that holds units (such as a 4-D convolution weight), came 0 "
           "parameters, none of that shape"},
          {"no filters", model("neurons.pt"), 1,
           "model: expected a parameter that holds units (such as a 4-D convolution weight), came 2 "
           "parameters, none of that shape"},
          {"no attention of so many heads", with(model("transformer.pt"), {"--units", "heads:5"}), 1,
           "model: expected a parameter that holds units (such as a 4-D convolution weight), came 30 "
           "parameters, none of that shape"},
          {"no classes", model("maps.pt"), 1,
           "t10k-images-idx3-ubyte#0: model output: expected [batch, classes], came [1, 10, 26, 26]"},
          {"other channels", with(model("good.pt"), {"--preset", "cifar10"}), 1,
           "t10k-images-idx3-ubyte#0: expected an input that the model takes, came [1, 3, 28, 28]: Given "
           "groups=1, ..."},
      });
  const Run run = workspace.run(model("good.pt"));
  INFO(run.err);
  CHECK(run.status == 0);
  CHECK(std::filesystem::exists(workspace / "b.safetensors"));
}

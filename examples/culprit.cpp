// SPDX-License-Identifier: MIT
//
// The program culprit: which filters are to blame for a model's mistakes? This file has its commands,
// cli/option_groups.hpp their options, and cli/run.cpp what they do.

#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <malloc.h>

#include "cli/help.hpp"
#include "cli/isolated.hpp"
#include "cli/option_groups.hpp"
#include "cli/options.hpp"
#include "cli/text.hpp"
#include "culprit/version.hpp"

namespace culprit::cli {
namespace {

/// Declares the commands and their options, each with its help; parsing fills `options`.
void declare(CLI::App& app, Options& options) {
  app.name("culprit");
  app.description(std::string(help::about));
  app.footer("\nculprit COMMAND --help tells about a command, with an example.\n\n" +
             std::string(help::exit_status));
  app.set_version_flag("--version", "culprit " + std::string(version));
  app.require_subcommand(1);

  CLI::App& fit = add_command(app, options, Command::fit, "fit",
                              "Mean and deviation of every filter's saliency over a data set", help::fit);
  CLI::App& merge = add_command(app, options, Command::merge, "merge",
                                "One result of those of a data set's shards", help::merge);
  CLI::App& profile = add_command(app, options, Command::profile, "profile",
                                  "The saliency of every filter for every sample", help::profile);
  CLI::App& explain =
      add_command(app, options, Command::explain, "explain",
                  "The filters to blame for single samples: table, figures, page", help::explain);
  CLI::App& experiment =
      add_command(app, options, Command::experiment, "experiment",
                  "The paper's experiments on a whole data set: tables and figures", help::experiment);
  CLI::App& neighbors =
      add_command(app, options, Command::neighbors, "neighbors",
                  "The samples with the same filters to blame: table, contact sheet", help::neighbors);
  CLI::App& report = add_command(app, options, Command::report, "report",
                                 "One page of what explain, neighbors and experiment wrote", help::report);
  for (CLI::App* command : {&fit, &profile, &explain, &experiment}) add_model(*command, options);
  for (CLI::App* command : {&fit, &profile, &explain, &experiment, &neighbors}) add_data(*command, options);
  for (CLI::App* command : {&fit, &experiment}) command->get_option("--data")->required();
  for (CLI::App* command : {&profile, &explain}) add_image(*command, options);
  for (CLI::App* command : {&fit, &profile, &explain, &experiment}) {
    add_preprocessing(*command, options);
    add_method(*command, options);
    add_units(*command, options);
    add_standardize(*command, options);
  }
  add_heat_map(explain, options, "Heat map");
  explain.add_flag("--shared-scale", options.shared_scale, "one scale for the heat maps of all samples")
      ->group("Heat map");
  add_experiment(experiment, options);
  add_heat_map(experiment, options, "Heat map of the experiment mask");
  for (CLI::App* command : {&fit, &profile, &explain, &experiment}) add_run(*command, options);

  for (CLI::App* command : {&fit, &profile}) add_shard(*command, options);
  add_non_finite(fit, options, {"refuse", "skip"});
  add_non_finite(profile, options, non_finites);
  for (CLI::App* command : {&fit, &profile, &experiment}) {
    command->add_flag("--fresh", options.fresh, "do not go on with what an earlier run left")->group("Run");
  }

  Group(fit, "Result").add("--out", options.out, "FILE", "the baseline to write")->required();

  Group of_merge(merge, "Result");
  of_merge.add("PART", options.parts, "", "what culprit fit, or profile, --shard wrote, in any order")
      ->required()
      ->expected(1, CLI::detail::expected_max_vector_size);
  of_merge.add("--out", options.out, "FILE", "the baseline, or the profiles, to write")->required();

  Group of_profile(profile, "Result");
  of_profile.add("--baseline", options.baseline, "FILE", "what culprit fit wrote: adds z");
  of_profile
      .add("--store-dtype", options.store_dtype, "TYPE",
           "of profile and z in the result: " + joined(store_dtypes, ", ") +
               "; without it profile is in --dtype and z in float64")
      ->check(one_of(store_dtypes));
  of_profile
      .add("--out", options.out, "FILE|DIR",
           "the profiles to write: FILE.safetensors, or a folder of such files with an index")
      ->required();

  Group of_experiment(experiment, "Result");
  of_experiment.add("--baseline", options.baseline, "FILE", "what culprit fit wrote")->required();
  of_experiment.add("--out", options.out, "DIR", "the folder to write into; made if it is not there")
      ->required();

  Group of_explain(explain, "Result");
  of_explain
      .add("--wrong", options.wrong, "N",
           "with --data: how many of the most confidently wrong samples to explain (default " +
               std::to_string(options.wrong) + ")")
      ->check(above_zero)
      ->excludes(explain.get_option("--image"));
  of_explain.add("--baseline", options.baseline, "FILE", "what culprit fit wrote")->required();
  of_explain.add("--out", options.out, "DIR", "the folder to write into; made if it is not there")
      ->required();

  Group of_report(report, "Result");
  of_report.add("--explained", options.explained, "DIR", "a folder that culprit explain wrote");
  of_report.add("--neighbors", options.neighbors, "DIR", "a folder that culprit neighbors wrote");
  of_report.add("--results", options.results, "DIR", "a folder that culprit experiment wrote");
  of_report.add("--out", options.out, "FILE", "the page to write")->required();

  add_preprocessing(neighbors, options);
  add_search(neighbors, options);
  Group(neighbors, "Result")
      .add("--out", options.out, "DIR", "the folder to write into; made if it is not there")
      ->required();
}

/// What concerns several options at once.
/// @throws CLI::ParseError for options that contradict each other, or lack each other
void check_usage(const Options& options) {
  const auto refuse = [](const std::string& message) {
    throw CLI::ValidationError(message, CLI::ExitCodes::ValidationError);
  };
  if (options.command == Command::report) {
    if (options.explained.empty() && options.neighbors.empty() && options.results.empty())
      refuse("--explained, --neighbors or --results is required");
    return;
  }
  if (options.command == Command::merge) return;
  if (options.command == Command::neighbors && options.data.empty()) return;  // no pictures are shown
  if (options.data.empty() && options.image.empty()) refuse("--data or --image with --label is required");
  const bool by_hand =
      options.resize > 0 || options.crop > 0 || !options.mean.empty() || !options.std.empty();
  if (!options.preset.empty() && by_hand) refuse("--preset excludes --resize, --crop, --mean and --std");
  if (options.preset.empty() && (options.mean.empty() || options.std.empty())) {
    refuse("--preset, or --mean and --std (and --resize, --crop), is required");
  }
  if ((options.noise_iters > 0) != (options.noise_std > 0)) {
    refuse("--noise-iters and --noise-std need each other");
  }
  if (options.mean.size() != options.std.size()) refuse("--mean and --std need as many values as each other");
}

/// The exit status of what is done; what it throws is one line on stderr.
int status_of(const std::function<int()>& work) {
  try {
    return work();
  } catch (...) {
    std::fprintf(stderr, "culprit: error: %s\n", message_of_current_exception().c_str());
    return 1;
  }
}

}  // namespace
}  // namespace culprit::cli

int main(int argc, char** argv) {
  using namespace culprit::cli;
  // Each batch needs the memory of the one before: to give it back in between and have the system fill it
  // with zeros again took a fifth of a run.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  CLI::App app;
  Options options;
  declare(app, options);
  try {
    app.parse(argc, argv);
    check_usage(options);
  } catch (const CLI::Success& answer) {  // --help, --version
    return app.exit(answer);
  } catch (const CLI::ParseError& error) {
    std::string command = "culprit";
    for (const CLI::App* chosen : app.get_subcommands()) command += ' ' + chosen->get_name();
    std::fprintf(stderr, "culprit: error: %s (see %s --help)\n", one_line(error.what()).c_str(),
                 command.c_str());
    return 2;
  }
  const auto command = [&] {
    return status_of([&] {
      run(options);
      return 0;
    });
  };
  return options.isolate ? status_of([&] { return run_isolated(options, command); }) : command();
}

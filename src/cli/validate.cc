// `weir validate FILE...`: reads configurations as serve would and says everything that is wrong or
// looks it.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "admin/json_writer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve.h"
#include "config/parse.h"
#include "store/time_zones.h"

namespace weir::cli {

namespace {

struct Options {
  std::vector<std::string> files;
  bool json = false;
};

struct Finding {
  std::vector<config::ConfigError> errors;
  std::vector<std::string> warnings;  // sentences about what is allowed and seldom meant
};

// Pools in no package: their accounts serve nobody, which a running gateway would never say.
std::vector<std::string> UnusedPools(const config::Config& config) {
  std::vector<bool> used(config.pools.size());
  for (const config::Package& package : config.packages) {
    for (const std::uint32_t pool : package.pools) used[pool] = true;
  }
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) {
      warnings.push_back("no package has the pool " + config.pools[i].name +
                         "; name it in a package, or remove it");
    }
  }
  return warnings;
}

Finding Check(const std::string& file) {
  const auto text = ReadUpTo(file, config::kConfigBytesMax);
  if (!text) {
    return {.errors = {{.file = file,
                        .path = "",
                        .message = "cannot be read",
                        .fix = "check the path and its permissions"}}};
  }
  auto parsed =
      config::ParseConfig(*text, file, EnvironmentVariable, FilesBeside(file), store::FindZone);
  if (parsed) return {.warnings = UnusedPools(*parsed)};
  return {.errors = std::move(parsed.error())};
}

int RunValidate(const Options& options) {
  int exit_code = kExitDone;
  admin::JsonWriter json;
  json.Open('{').Open("files", '[');
  for (const std::string& file : options.files) {
    const auto [errors, warnings] = Check(file);
    if (!errors.empty()) exit_code = kExitFailed;
    json.Open('{').Text("file", file).Flag("valid", errors.empty()).Open("errors", '[');
    for (const config::ConfigError& error : errors) {
      json.Open('{')
          .Number("line", error.line)
          .Number("column", error.column)
          .TextOrNull("path", error.path)
          .Text("message", error.message)
          .TextOrNull("fix", error.fix)
          .Close('}');
      if (!options.json) {
        std::fprintf(stderr, "%s\n", config::FormatConfigError(error).c_str());
      }
    }
    json.Close(']').Texts("warnings", warnings).Close('}');
    for (const std::string& warning : warnings) {
      if (!options.json) std::fprintf(stderr, "%s: warning: %s\n", file.c_str(), warning.c_str());
    }
    if (!options.json && errors.empty()) std::printf("%s: valid\n", file.c_str());
  }
  json.Close(']').Close('}');
  if (options.json) std::printf("%s\n", json.Take().c_str());
  return exit_code;
}

}  // namespace

void AddValidate(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "validate", "Check configuration files; environment variables count as for serve");
  command->add_option("files", options->files, "Configuration files")
      ->type_name("FILE")
      ->required();
  command->add_flag("--json", options->json, "Print the result as one JSON object");
  command->callback([options, &exit_code] { exit_code = RunValidate(*options); });
}

}  // namespace weir::cli

// The words of `weir serve` and `weir demo`; what they do is in serve.cc and demo.cc.

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/demo.h"
#include "cli/serve.h"

namespace weir::cli {

void AddServe(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand(
      "serve",
      "Run the gateway; without a file it serves the sandbox, or OpenAI if OPENAI_API_KEY is set");
  command->add_option("--config", options->config_file, "Configuration file (YAML)")
      ->type_name("FILE");
  command->add_option("--data-dir", options->data_dir, "Instead of the file's data_dir")
      ->type_name("DIR");
  command->add_option("--listen", options->listen, "Instead of the file's listen")
      ->type_name("HOST:PORT");
  command->add_option("--admin-listen", options->admin_listen, "Instead of the file's admin.listen")
      ->type_name("HOST:PORT");
  command->add_flag("--quiet", options->quiet, "Print nothing but errors and the log");
  command
      ->add_option("--ballast-bytes", options->ballast_bytes,
                   "Disk space kept to settle open requests with when the disk is full; 0: none")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40))
      ->capture_default_str();
  // Of no use but to test/crash, so it is in no help and no completion.
  command->add_option("--crash-at", options->crash_at)->type_name("NAME[:N]")->group("");
  command->callback([options, &exit_code] { exit_code = RunServe(*options); });
}

void AddDemo(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<DemoOptions>();
  CLI::App* command =
      app.add_subcommand("demo", "Run an example with a mock upstream, on free ports");
  command->add_option("--example", options->example, "A folder of examples/")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON line when ready");
  command->add_option("--mock-log", options->mock_log, "Append what the mock upstream sees here")
      ->type_name("FILE");
  command->callback([options, &exit_code] { exit_code = RunDemo(*options); });
}

}  // namespace weir::cli

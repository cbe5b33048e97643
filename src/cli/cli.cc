#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <memory>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/mock_upstream.h"

namespace weir::cli {

std::unique_ptr<CLI::App> MakeApp(int& exit_code) {
  auto app = std::make_unique<CLI::App>("Weir, a self-hosted AI gateway", "weir");
  app->set_version_flag("--version", kVersion);
  app->require_subcommand(1);
  app->footer(
      "`weir COMMAND --help` says more. Exit status: 0 done, 1 failed, 2 wrong command line.");
  AddServe(*app, exit_code);
  AddDemo(*app, exit_code);
  AddValidate(*app, exit_code);
  AddKeys(*app, exit_code);
  AddMockUpstream(*app, exit_code);
  AddReference(*app, exit_code);
  AddVersion(*app, exit_code);
  AddCompletion(*app, exit_code);
  return app;
}

int RunCli(int argc, char** argv) {
  // A reader of our output that goes away is an error of write(), not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  int exit_code = kExitDone;
  try {
    const auto app = MakeApp(exit_code);
    try {
      app->parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      // The library prints help for --help, which is no error; its own codes are above 100.
      return app->exit(error) == 0 ? kExitDone : kExitUsage;
    }
  } catch (const std::exception& error) {
    PrintError(error.what());
    return kExitFailed;
  }
  return exit_code;
}

}  // namespace weir::cli

#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/mock_upstream.h"

namespace weir::cli {

namespace {

// What the library says of a wrong command line, as one sentence with the fix. It reports the
// missing subcommand before the word that was meant to be one, so that is looked for here.
std::string UsageText(const CLI::App& app, const CLI::Error& error) {
  std::string path = "weir";
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  const std::vector<std::string> rest = at->remaining(/*recurse=*/true);
  const bool wants_command = !at->get_subcommands({}).empty();
  if (wants_command && !rest.empty() && !rest.front().starts_with("-")) {
    return "there is no command " + path + " " + rest.front() + "; " + path + " --help lists them";
  }
  std::string what = error.what();
  for (char& c : what) {
    if (c == '\n') c = ' ';
  }
  return what + "; see " + path + " --help";
}

}  // namespace

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
  AddAccounts(*app, exit_code);
  AddWallets(*app, exit_code);
  AddCodes(*app, exit_code);
  AddWebhooks(*app, exit_code);
  AddPrices(*app, exit_code);
  AddPolicy(*app, exit_code);
  AddPolicyAdmin(*app, exit_code);
  AddApprovals(*app, exit_code);
  AddPolicySimulate(*app, exit_code);
  AddPolicyCounters(*app, exit_code);
  AddReport(*app, exit_code);
  AddOperators(*app, exit_code);
  AddAudit(*app, exit_code);
  AddLedger(*app, exit_code);
  AddReceipt(*app, exit_code);
  AddMockUpstream(*app, exit_code);
  AddSim(*app, exit_code);
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
      // --help and --version come as errors of code 0; the library prints what was asked for.
      if (error.get_exit_code() == 0) return app->exit(error);
      PrintError(UsageText(*app, error));
      return kExitUsage;
    }
  } catch (const std::exception& error) {
    PrintError(error.what());
    return kExitFailed;
  }
  return exit_code;
}

}  // namespace weir::cli

// What the subcommands share. Each file of this folder adds one subcommand to the app and leaves
// its exit code behind.
#pragma once

#include <cstdio>
#include <string>

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace weir::cli {

void AddServe(CLI::App& app, int& exit_code);
void AddDemo(CLI::App& app, int& exit_code);
void AddValidate(CLI::App& app, int& exit_code);
void AddKeys(CLI::App& app, int& exit_code);
void AddAccounts(CLI::App& app, int& exit_code);
void AddWallets(CLI::App& app, int& exit_code);
void AddCodes(CLI::App& app, int& exit_code);
void AddWebhooks(CLI::App& app, int& exit_code);
void AddSim(CLI::App& app, int& exit_code);
void AddPrices(CLI::App& app, int& exit_code);
void AddPolicy(CLI::App& app, int& exit_code);
// Adds to what AddPolicy made.
void AddPolicyAdmin(CLI::App& app, int& exit_code);
void AddApprovals(CLI::App& app, int& exit_code);
void AddOperators(CLI::App& app, int& exit_code);
void AddAudit(CLI::App& app, int& exit_code);
void AddLedger(CLI::App& app, int& exit_code);
void AddReceipt(CLI::App& app, int& exit_code);
void AddVersion(CLI::App& app, int& exit_code);
void AddPolicySimulate(CLI::App& app, int& exit_code);
void AddPolicyCounters(CLI::App& app, int& exit_code);
void AddReport(CLI::App& app, int& exit_code);
// `weir policy`, which several files add to: the one that comes first makes it.
CLI::App& PolicyCommand(CLI::App& app);
// Walks `app`, so it is added last and sees every other subcommand.
void AddCompletion(CLI::App& app, int& exit_code);
void AddReference(CLI::App& app, int& exit_code);

// "weir: TEXT" on standard error. One sentence, with what to do about it.
inline void PrintError(const std::string& text) {
  std::fprintf(stderr, "weir: %s\n", text.c_str());
}

}  // namespace weir::cli

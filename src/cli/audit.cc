// `weir audit verify|head`: whether the trail of policies, approvals and operators is as it was
// written. Reads the file itself, so that no gateway has to be believed; one may be running.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cli/cli.h"
#include "cli/commands.h"
#include "store/audit_chain.h"

namespace weir::cli {

namespace {

struct Options {
  std::string data_dir = "weir-data";
  std::string head;
};

int Verify(const Options& options, bool head_only) {
  std::optional<store::AuditHead> known;
  if (!options.head.empty()) {
    known = store::ParseAuditHead(options.head);
    if (!known) {
      PrintError("--head is SEQ:HASH, as `weir audit head` prints it");
      return kExitUsage;
    }
  }
  const auto check = store::VerifyAudit(options.data_dir + "/policies.db", known);
  if (!check) {
    PrintError(check.error().detail);
    return kExitFailed;
  }
  if (check->first_bad != 0) {
    PrintError("the audit trail is broken at row " + std::to_string(check->first_bad) + ": " +
               check->why + "; rows up to " + std::to_string(check->head.seq) + " are right");
    return kExitFailed;
  }
  const std::string head = store::FormatAuditHead(check->head);
  if (head_only) {
    std::printf("%s\n", head.c_str());
  } else {
    std::printf("%lld rows are right\nhead  %s\n", static_cast<long long>(check->head.seq),
                head.c_str());
    if (!known) {
      std::printf(
          "A tail that was cut off is seen only against a head kept elsewhere: verify --head.\n");
    }
  }
  return kExitDone;
}

void AddDirectory(CLI::App& command, Options& options) {
  command.add_option("--data-dir", options.data_dir, "Data directory of weir serve")
      ->envname("WEIR_DATA_DIR")
      ->type_name("DIR")
      ->capture_default_str();
}

}  // namespace

void AddAudit(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* audit =
      app.add_subcommand("audit", "Check the trail of policies, approvals and operators");
  audit->require_subcommand(1);

  CLI::App* verify = audit->add_subcommand("verify", "Check every row and name the first bad one");
  AddDirectory(*verify, *options);
  verify
      ->add_option("--head", options->head,
                   "What `weir audit head` printed before: then a tail that is gone is seen, too")
      ->type_name("SEQ:HASH");
  verify->callback([options, &exit_code] { exit_code = Verify(*options, /*head_only=*/false); });

  CLI::App* head = audit->add_subcommand(
      "head", "Check every row and print the last one's hash, to keep elsewhere");
  AddDirectory(*head, *options);
  head->callback([options, &exit_code] { exit_code = Verify(*options, /*head_only=*/true); });
}

}  // namespace weir::cli

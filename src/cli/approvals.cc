// `weir approvals ask|list|show|approve|deny|end|review`: more of a policy for a while, from a
// shell.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

struct Options : Connection {
  std::string id;
  std::string policy;
  std::string counter;
  std::string amount;
  std::string duration;
  std::string from;
  std::string reason;
  std::string rollback_owner;
  std::string note;
  std::string text;
  std::string state;
  bool review_missing = false;
  std::int64_t limit = 50;
};

void PutText(json::object& body, const char* name, const std::string& text) {
  if (!text.empty()) body[name] = text;
}

const json::value& Member(const json::value& value, std::string_view name) {
  static const json::value kNone;
  const auto* object = value.if_object();
  const auto* member = object == nullptr ? nullptr : object->if_contains(name);
  return member == nullptr ? kNone : *member;
}

int PrintOne(const Options& options, const std::optional<json::value>& approval) {
  if (!approval) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*approval).c_str());
    return kExitDone;
  }
  const json::value& asked = Member(*approval, "asked");
  const json::value& granted = Member(*approval, "granted");
  std::printf("id         %s\nstate      %s\npolicy     %s\ncounter    %s\n",
              Text(*approval, "id").c_str(), Text(*approval, "state").c_str(),
              Text(*approval, "policy").c_str(), Text(*approval, "counter").c_str());
  std::printf("asked      %s %s for %s, by %s: %s\n", Text(asked, "amount").c_str(),
              Text(*approval, "unit").c_str(), Text(asked, "duration").c_str(),
              Text(*approval, "requester").c_str(), Text(*approval, "reason").c_str());
  if (!granted.is_null()) {
    std::printf("granted    %s %s, %s to %s, by %s\n", Text(granted, "amount").c_str(),
                Text(*approval, "unit").c_str(), Text(granted, "from").c_str(),
                Text(granted, "to").c_str(), Text(*approval, "decided_by").c_str());
    std::printf("rollback   %s\nspent      %s\n", Text(*approval, "rollback_owner").c_str(),
                Text(*approval, "spent").c_str());
  }
  if (Text(*approval, "decision") != "-") {
    std::printf("decision   %s\n", Text(*approval, "decision").c_str());
  }
  if (Text(*approval, "ended_at") != "-") {
    std::printf("ended      %s\nreview     %s\n", Text(*approval, "ended_at").c_str(),
                Text(Member(*approval, "review"), "text").c_str());
  }
  return kExitDone;
}

bool IsId(const std::string& id) {
  if (!id.empty() &&
      id.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZapr_") == std::string::npos) {
    return true;
  }
  PrintError("there is no such approval; use an id that `weir approvals list` shows");
  return false;
}

int AskFor(const Options& options) {
  json::object body;
  PutText(body, "policy", options.policy);
  PutText(body, "counter", options.counter);
  PutText(body, "amount", options.amount);
  PutText(body, "duration", options.duration);
  PutText(body, "from", options.from);
  PutText(body, "reason", options.reason);
  PutText(body, "rollback_owner", options.rollback_owner);
  return PrintOne(options, Ask(options, "POST", "/admin/v1/approvals", json::serialize(body)));
}

int List(const Options& options) {
  std::string target = "/admin/v1/approvals?limit=" + std::to_string(options.limit);
  if (!options.state.empty()) target += "&state=" + options.state;
  if (options.review_missing) target += "&review_missing=true";
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*page).c_str());
    return kExitDone;
  }
  const auto* data = Member(*page, "data").if_array();
  if (data == nullptr) return kExitFailed;
  std::printf("%-30s  %-9s  %-24s  %16s  %-14s  %-14s  %s\n", "ID", "STATE", "POLICY", "AMOUNT",
              "UNIT", "ASKED BY", "REASON");
  for (const json::value& approval : *data) {
    const json::value& granted = Member(approval, "granted");
    const json::value& amount = granted.is_null() ? Member(approval, "asked") : granted;
    std::printf("%-30s  %-9s  %-24s  %16s  %-14s  %-14s  %s\n", Text(approval, "id").c_str(),
                Text(approval, "state").c_str(), Text(approval, "policy").c_str(),
                Text(amount, "amount").c_str(), Text(approval, "unit").c_str(),
                Text(approval, "requester").c_str(), Text(approval, "reason").c_str());
  }
  return kExitDone;
}

int Show(const Options& options) {
  if (!IsId(options.id)) return kExitFailed;
  return PrintOne(options, Ask(options, "GET", "/admin/v1/approvals/" + options.id));
}

int Decide(const Options& options, const std::string& verb) {
  if (!IsId(options.id)) return kExitFailed;
  json::object body;
  PutText(body, "amount", options.amount);
  PutText(body, "duration", options.duration);
  PutText(body, "from", options.from);
  PutText(body, "rollback_owner", options.rollback_owner);
  PutText(body, "note", options.note);
  PutText(body, "text", options.text);
  return PrintOne(options, Ask(options, "POST", "/admin/v1/approvals/" + options.id + "/" + verb,
                               json::serialize(body)));
}

}  // namespace

void AddApprovals(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* approvals = app.add_subcommand("approvals", "More of a quota policy, for a while");
  approvals->require_subcommand(1);

  CLI::App* ask = approvals->add_subcommand("ask", "Ask for more of a policy");
  ask->add_option("--policy", options->policy, "Its id")->type_name("ID")->required();
  ask->add_option("--amount", options->amount, "How much more, in the policy's unit: 12.50")
      ->type_name("AMOUNT")
      ->required();
  ask->add_option("--for", options->duration, "How long: 24h, 7d")->type_name("TIME")->required();
  ask->add_option("--reason", options->reason, "Why")->type_name("TEXT")->required();
  ask->add_option("--counter", options->counter,
                  "Of which counter, such as team=growth (default: of each)")
      ->type_name("COUNTER");
  ask->add_option("--from", options->from, "From when on (default: from the decision on)")
      ->type_name("TIME");
  ask->add_option("--rollback-owner", options->rollback_owner,
                  "Who puts things right when it ends (default: the policy's owner)")
      ->type_name("NAME");
  AddConnection(*ask, *options);
  ask->callback([options, &exit_code] { exit_code = AskFor(*options); });

  CLI::App* list = approvals->add_subcommand("list", "List approvals, newest first");
  list->add_option("--state", options->state, "Only those in this state")
      ->check(CLI::IsMember({"requested", "approved", "active", "denied", "expired", "ended"}));
  list->add_flag("--review-missing", options->review_missing,
                 "Only those that ended and have no review");
  list->add_option("--limit", options->limit, "So many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = List(*options); });

  CLI::App* show = approvals->add_subcommand("show", "Show one approval");
  show->add_option("approval", options->id, "Its id")->type_name("ID")->required();
  AddConnection(*show, *options);
  show->callback([options, &exit_code] { exit_code = Show(*options); });

  CLI::App* approve = approvals->add_subcommand(
      "approve", "Approve what somebody else asked for, or less of it; in force at once");
  approve->add_option("approval", options->id, "Its id")->type_name("ID")->required();
  approve->add_option("--amount", options->amount, "Less than was asked for")->type_name("AMOUNT");
  approve->add_option("--for", options->duration, "Shorter than was asked for")->type_name("TIME");
  approve->add_option("--from", options->from, "Another beginning")->type_name("TIME");
  approve->add_option("--rollback-owner", options->rollback_owner, "Who puts things right")
      ->type_name("NAME");
  approve->add_option("--note", options->note, "In words")->type_name("TEXT");
  AddConnection(*approve, *options);
  approve->callback([options, &exit_code] { exit_code = Decide(*options, "approve"); });

  for (const auto& [verb, help] :
       {std::pair("deny", "Deny what was asked for, or take back what you asked for"),
        std::pair("end", "End an approval before its time")}) {
    CLI::App* command = approvals->add_subcommand(verb, help);
    command->add_option("approval", options->id, "Its id")->type_name("ID")->required();
    command->add_option("--note", options->note, "In words")->type_name("TEXT");
    AddConnection(*command, *options);
    command->callback(
        [options, &exit_code, name = std::string(verb)] { exit_code = Decide(*options, name); });
  }

  CLI::App* review = approvals->add_subcommand("review", "Say what came of one that has ended");
  review->add_option("approval", options->id, "Its id")->type_name("ID")->required();
  review->add_option("--text", options->text, "What came of it")->type_name("TEXT")->required();
  AddConnection(*review, *options);
  review->callback([options, &exit_code] { exit_code = Decide(*options, "review"); });
}

}  // namespace weir::cli

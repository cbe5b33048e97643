// `weir operators create|list|change|delete`: who may use the admin API, from a shell.

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
  std::string name;
  std::string role;
  std::string state;
};

// Names and ids are what fits a path as it is. Prints what is wrong.
bool IsName(const std::string& text) {
  if (!text.empty() &&
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
          std::string::npos) {
    return true;
  }
  PrintError("there is no such operator; use an id or a name that `weir operators list` shows");
  return false;
}

int Create(const Options& options) {
  const json::object body = {{"name", options.name}, {"role", options.role}};
  const auto made = Ask(options, "POST", "/admin/v1/operators", json::serialize(body));
  if (!made) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*made).c_str());
    return kExitDone;
  }
  const auto* shown = made->is_object() ? made->get_object().if_contains("operator") : nullptr;
  const json::value none;
  const json::value& record = shown == nullptr ? none : *shown;
  std::printf(
      "id     %s\nname   %s\nrole   %s\ntoken  %s\n\nThe token is not shown again. Its holder sets "
      "it as WEIR_ADMIN_TOKEN.\n",
      Text(record, "id").c_str(), Text(record, "name").c_str(), Text(record, "role").c_str(),
      Text(*made, "token").c_str());
  return kExitDone;
}

int List(const Options& options) {
  std::string target = "/admin/v1/operators";
  if (!options.state.empty()) target += "?state=" + options.state;
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*page).c_str());
    return kExitDone;
  }
  const auto* object = page->if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains("data");
  if (data == nullptr || !data->is_array()) return kExitFailed;
  std::printf("%-29s  %-20s  %-8s  %-8s  %-12s  %s\n", "ID", "NAME", "ROLE", "STATE", "TOKEN",
              "MADE BY");
  for (const json::value& record : data->get_array()) {
    std::printf("%-29s  %-20s  %-8s  %-8s  %-12s  %s\n", Text(record, "id").c_str(),
                Text(record, "name").c_str(), Text(record, "role").c_str(),
                Text(record, "state").c_str(), Text(record, "display").c_str(),
                Text(record, "created_by").c_str());
  }
  return kExitDone;
}

int Change(const Options& options) {
  if (!IsName(options.name)) return kExitFailed;
  json::object body;
  if (!options.role.empty()) body["role"] = options.role;
  if (!options.state.empty()) body["state"] = options.state;
  const auto record =
      Ask(options, "PATCH", "/admin/v1/operators/" + options.name, json::serialize(body));
  if (!record) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*record).c_str());
  } else {
    std::printf("%s is %s, %s\n", Text(*record, "name").c_str(), Text(*record, "role").c_str(),
                Text(*record, "state").c_str());
  }
  return kExitDone;
}

int Delete(const Options& options) {
  if (!IsName(options.name)) return kExitFailed;
  const auto record = Ask(options, "DELETE", "/admin/v1/operators/" + options.name);
  if (!record) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*record).c_str());
  } else {
    std::printf("%s (%s) is deleted; the token is worth nothing now\n",
                Text(*record, "name").c_str(), Text(*record, "id").c_str());
  }
  return kExitDone;
}

}  // namespace

void AddOperators(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* operators = app.add_subcommand("operators", "Who may use the admin API, and for what");
  operators->require_subcommand(1);

  CLI::App* create =
      operators->add_subcommand("create", "Make an operator and print the token, once");
  create->add_option("--name", options->name, "Who it is; the trail names them")
      ->type_name("NAME")
      ->required();
  create
      ->add_option("--role", options->role,
                   "viewer sees, approver decides on approvals too, admin does everything")
      ->check(CLI::IsMember({"viewer", "approver", "admin"}))
      ->required();
  AddConnection(*create, *options);
  create->callback([options, &exit_code] { exit_code = Create(*options); });

  CLI::App* list = operators->add_subcommand("list", "List operators, oldest first");
  list->add_option("--state", options->state, "Only operators in this state")
      ->check(CLI::IsMember({"active", "disabled", "deleted"}));
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = List(*options); });

  CLI::App* change = operators->add_subcommand("change", "Change an operator's role or state");
  change->add_option("operator", options->name, "Its id or name")->type_name("NAME")->required();
  change->add_option("--role", options->role, "The new one")
      ->check(CLI::IsMember({"viewer", "approver", "admin"}));
  change->add_option("--state", options->state, "disabled stops the token until it is active again")
      ->check(CLI::IsMember({"active", "disabled"}));
  AddConnection(*change, *options);
  change->callback([options, &exit_code] { exit_code = Change(*options); });

  CLI::App* remove =
      operators->add_subcommand("delete", "Delete an operator; the token stops at once");
  remove->add_option("operator", options->name, "Its id or name")->type_name("NAME")->required();
  AddConnection(*remove, *options);
  remove->callback([options, &exit_code] { exit_code = Delete(*options); });
}

}  // namespace weir::cli

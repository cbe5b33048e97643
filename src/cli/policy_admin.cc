// `weir policy list|show|put|delete|versions`: the policies of a running gateway, from a shell.
// What they mean without one is policy.cc's.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

constexpr const char* kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

struct Options : Connection {
  std::string id;
  std::string file;
  std::string source;
  std::string owner;
  std::int64_t expect_version = -1;
};

// Prints what is wrong.
bool IsId(const std::string& text) {
  if (!text.empty() && text.find_first_not_of(kNameCharacters) == std::string::npos) return true;
  PrintError("there is no such policy; use an id that `weir policy list` shows");
  return false;
}

const json::value& Member(const json::value& value, std::string_view name) {
  static const json::value kNone;
  const auto* object = value.if_object();
  const auto* member = object == nullptr ? nullptr : object->if_contains(name);
  return member == nullptr ? kNone : *member;
}

void Print(const json::value& value) { std::printf("%s\n", json::serialize(value).c_str()); }

std::string IfMatch(const Options& options) {
  return options.expect_version < 0
             ? std::string()
             : "if-match: \"" + std::to_string(options.expect_version) + "\"\r\n";
}

int List(const Options& options) {
  std::string target = "/admin/v1/policies";
  if (!options.source.empty()) target += "?source=" + options.source;
  if (!options.owner.empty()) {
    target += (options.source.empty() ? "?owner=" : "&owner=") + options.owner;
  }
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    Print(*page);
    return kExitDone;
  }
  const auto* data = Member(*page, "data").if_array();
  if (data == nullptr) return kExitFailed;
  std::printf("%-28s  %7s  %-6s  %-14s  %16s  %-9s  %-8s  %s\n", "ID", "VERSION", "SOURCE", "UNIT",
              "LIMIT", "WINDOW", "ACTION", "OWNER");
  for (const json::value& entry : *data) {
    const json::value& policy = Member(entry, "policy");
    std::printf("%-28s  %7s  %-6s  %-14s  %16s  %-9s  %-8s  %s\n", Text(entry, "id").c_str(),
                Text(entry, "version").c_str(), Text(entry, "source").c_str(),
                Text(policy, "unit").c_str(), Text(policy, "limit").c_str(),
                Text(policy, "window").c_str(), Text(policy, "action").c_str(),
                Text(policy, "owner").c_str());
  }
  return kExitDone;
}

int Show(const Options& options) {
  if (!IsId(options.id)) return kExitFailed;
  const auto entry = Ask(options, "GET", "/admin/v1/policies/" + options.id);
  if (!entry) return kExitFailed;
  if (options.json) {
    Print(*entry);
    return kExitDone;
  }
  std::printf("%s  version %s, %s\n", Text(*entry, "id").c_str(), Text(*entry, "version").c_str(),
              Text(*entry, "source") == "file"
                  ? "of the file"
                  : ("made by " + Text(*entry, "created_by") + " at " + Text(*entry, "created_at"))
                        .c_str());
  if (const auto* policy = Member(*entry, "policy").if_object()) {
    for (const auto& member : *policy) {
      const std::string name(member.key());
      if (name == "id" || name == "version") continue;
      std::printf("  %-18s %s\n", name.c_str(), Text(Member(*entry, "policy"), name).c_str());
    }
  }
  return kExitDone;
}

// The file is read by the gateway, with the parser and the models that count; here it is a text.
int Put(const Options& options) {
  std::ifstream in(options.file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in.good() && text.empty()) {
    PrintError(options.file + " cannot be read");
    return kExitFailed;
  }
  const auto read = Ask(options, "POST", "/admin/v1/policies/validate", text,
                        "content-type: application/yaml\r\n");
  if (!read) return kExitFailed;
  const auto* policies = Member(*read, "data").if_array();
  if (policies == nullptr || policies->empty()) {
    PrintError("there is no policy in " + options.file);
    return kExitFailed;
  }
  if (options.expect_version >= 0 && policies->size() != 1) {
    PrintError("--expect-version is for a file with one policy");
    return kExitUsage;
  }
  // All are right, or none is put.
  for (const json::value& entry : *policies) {
    if (Text(entry, "in_file") != "true") continue;
    PrintError("the policy " + Text(entry, "id") +
               " is one of the gateway's configuration file; change it there");
    return kExitFailed;
  }
  json::array put;
  for (const json::value& entry : *policies) {
    const auto made = Ask(options, "PUT", "/admin/v1/policies/" + Text(entry, "id"),
                          json::serialize(Member(entry, "policy")), IfMatch(options));
    if (!made) return kExitFailed;
    if (options.json) {
      put.push_back(*made);
    } else {
      std::printf("%s is at version %s\n", Text(*made, "id").c_str(),
                  Text(*made, "version").c_str());
    }
  }
  if (options.json) Print(json::object{{"data", put}});
  return kExitDone;
}

int Delete(const Options& options) {
  if (!IsId(options.id)) return kExitFailed;
  const auto gone =
      Ask(options, "DELETE", "/admin/v1/policies/" + options.id, {}, IfMatch(options));
  if (!gone) return kExitFailed;
  if (options.json) {
    Print(*gone);
  } else {
    std::printf("%s (version %s) is not in force any more\n", Text(*gone, "id").c_str(),
                Text(*gone, "version").c_str());
  }
  return kExitDone;
}

int Versions(const Options& options) {
  if (!IsId(options.id)) return kExitFailed;
  const auto page = Ask(options, "GET", "/admin/v1/policies/" + options.id + "/versions");
  if (!page) return kExitFailed;
  if (options.json) {
    Print(*page);
    return kExitDone;
  }
  const auto* data = Member(*page, "data").if_array();
  if (data == nullptr) return kExitFailed;
  for (const json::value& version : *data) {
    std::printf("%4s  %-7s  %s  %-16s  %s\n", Text(version, "version").c_str(),
                Text(version, "state").c_str(), Text(version, "created_at").c_str(),
                Text(version, "created_by").c_str(), Text(version, "policy").c_str());
  }
  return kExitDone;
}

}  // namespace

void AddPolicyAdmin(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* policy = app.get_subcommand("policy");

  CLI::App* list = policy->add_subcommand("list", "List the policies in force");
  list->add_option("--source", options->source, "Only those of the file, or those made at run time")
      ->check(CLI::IsMember({"file", "stored"}));
  list->add_option("--owner", options->owner, "Only those of this owner")
      ->type_name("NAME")
      ->check(CLI::Validator(
          [](std::string& text) {
            return text.find_first_not_of(kNameCharacters) == std::string::npos
                       ? std::string()
                       : std::string("use a name");
          },
          "NAME"));
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = List(*options); });

  CLI::App* show = policy->add_subcommand("show", "Show one policy with all its members");
  show->add_option("policy", options->id, "Its id")->type_name("ID")->required();
  AddConnection(*show, *options);
  show->callback([options, &exit_code] { exit_code = Show(*options); });

  CLI::App* put =
      policy->add_subcommand("put", "Make the policies of a file, or new versions of them");
  put->add_option("--file", options->file, "YAML or JSON: `policies`, a list of them, or one")
      ->type_name("FILE")
      ->required();
  put->add_option("--expect-version", options->expect_version,
                  "Only if this is the version in force; 0: only if there is none")
      ->check(CLI::NonNegativeNumber);
  AddConnection(*put, *options);
  put->callback([options, &exit_code] { exit_code = Put(*options); });

  CLI::App* remove =
      policy->add_subcommand("delete", "Take a policy out of force; its versions stay");
  remove->add_option("policy", options->id, "Its id")->type_name("ID")->required();
  remove
      ->add_option("--expect-version", options->expect_version,
                   "Only if this is the version in force")
      ->check(CLI::NonNegativeNumber);
  AddConnection(*remove, *options);
  remove->callback([options, &exit_code] { exit_code = Delete(*options); });

  CLI::App* versions =
      policy->add_subcommand("versions", "Every version of a policy, newest first");
  versions->add_option("policy", options->id, "Its id")->type_name("ID")->required();
  AddConnection(*versions, *options);
  versions->callback([options, &exit_code] { exit_code = Versions(*options); });
}

}  // namespace weir::cli

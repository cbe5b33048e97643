// `weir receipt show|key|verify`: the first two ask a running gateway, the last needs nothing but
// the receipt and, to know whose it is, the public key.

#include "server/receipt.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

struct Options : Connection {
  std::string request;
  std::string file;
  std::string key;
};

// At most a byte more than a receipt may have; "-" is standard input.
std::optional<std::string> ReadBounded(const std::string& file) {
  const std::string path = file == "-" ? "/dev/stdin" : file;
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::string text(server::kReceiptBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad()) return std::nullopt;
  return text;
}

std::string Trimmed(std::string text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// 64 hex digits, or a file with them or with what the gateway serves as its key.
std::optional<std::string> PublicKey(const std::string& given) {
  if (auto key = store::ParseReceiptPublicKey(given)) return key;
  const auto text = ReadBounded(given);
  if (!text) return std::nullopt;
  if (auto key = store::ParseReceiptPublicKey(Trimmed(*text))) return key;
  boost::system::error_code error;
  const json::value value = json::parse(*text, error);
  return error ? std::nullopt : store::ParseReceiptPublicKey(Text(value, "public_key"));
}

int Show(const Options& options) {
  std::string id = options.request;
  if (id.starts_with("req_")) id.erase(0, 4);
  if (id.size() != 26 || id.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz"
                                              "ABCDEFGHJKMNPQRSTVWXYZ") != std::string::npos) {
    PrintError("that is no request id; it is what x-request-id says, such as req_01J...");
    return kExitFailed;
  }
  const auto receipt = Ask(options, "GET", "/admin/v1/requests/req_" + id + "/receipt");
  if (!receipt) return kExitFailed;
  std::printf("%s\n", json::serialize(*receipt).c_str());
  return kExitDone;
}

int Key(const Options& options) {
  const auto key = Ask(options, "GET", "/admin/v1/receipt-key");
  if (!key) return kExitFailed;
  std::printf("%s\n",
              options.json ? json::serialize(*key).c_str() : Text(*key, "public_key").c_str());
  return kExitDone;
}

int Verify(const Options& options) {
  const auto text = ReadBounded(options.file);
  if (!text) {
    PrintError("cannot read " + options.file + "; check the path and its permissions");
    return kExitFailed;
  }
  std::optional<std::string> key;
  if (!options.key.empty()) {
    key = PublicKey(options.key);
    if (!key) {
      PrintError(
          "--key is neither 64 hex digits nor a file with a public key; `weir receipt key` "
          "prints it");
      return kExitFailed;
    }
  }
  const server::ReceiptCheck check = server::CheckReceipt(*text, key);
  if (options.json) {
    json::array faults;
    for (const std::string& fault : check.faults) faults.emplace_back(fault);
    const json::object out = {{"file", options.file},         {"valid", check.faults.empty()},
                              {"id", check.request},          {"signed_by", check.signed_by},
                              {"key_given", key.has_value()}, {"faults", faults}};
    std::printf("%s\n", json::serialize(out).c_str());
  } else if (check.faults.empty()) {
    std::printf("%s: the receipt of %s is as it was signed by %s%s\n", options.file.c_str(),
                check.request.c_str(), check.signed_by.c_str(),
                key ? "" : "; give --key to know that this is the gateway's key");
  } else {
    for (const std::string& fault : check.faults) PrintError(options.file + ": " + fault);
  }
  return check.faults.empty() ? kExitDone : kExitFailed;
}

}  // namespace

void AddReceipt(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* receipt =
      app.add_subcommand("receipt", "Print and check the signed receipts of requests");
  receipt->require_subcommand(1);

  CLI::App* show = receipt->add_subcommand("show", "Print the receipt of a request");
  show->add_option("request", options->request, "What x-request-id said")
      ->type_name("ID")
      ->required();
  AddConnection(*show, *options);
  show->callback([options, &exit_code] { exit_code = Show(*options); });

  CLI::App* key = receipt->add_subcommand("key", "Print the public key that checks receipts");
  AddConnection(*key, *options);
  key->callback([options, &exit_code] { exit_code = Key(*options); });

  CLI::App* verify = receipt->add_subcommand(
      "verify", "Check a receipt without the gateway: its signature and its arithmetic");
  verify->add_option("file", options->file, "The receipt; - is standard input")
      ->type_name("FILE")
      ->required();
  verify
      ->add_option("--key", options->key,
                   "The gateway's public key, or a file with it; without it anybody's is taken")
      ->type_name("HEX|FILE");
  verify->add_flag("--json", options->json, "Print the result as one JSON object");
  verify->callback([options, &exit_code] { exit_code = Verify(*options); });
}

}  // namespace weir::cli

// What the owner of a key sees of the money behind it: GET /balance, GET /balance/statement, and
// POST /redeem. The balance is the credit machine's; what needs a disk is asked of the desk.
#include <algorithm>
#include <array>
#include <string>

#include "base/money.h"
#include "config/scalar.h"
#include "dialect/json_view.h"
#include "dialect/reply_body.h"
#include "gateway/pipeline.h"
#include "gateway/wallet_owner.h"

namespace weir::gateway {
namespace {

// A code and the JSON around it are far shorter.
constexpr std::int64_t kRedeemBytesMax = 4096;
constexpr std::size_t kCodeBytesMax = 256;
// A wallet may have more grants; the rest is a number.
constexpr std::size_t kGrantsShown = 100;
constexpr std::int64_t kStatementDefault = 50;
constexpr std::size_t kBeforeBytesMax = 64;

WalletAsker AskerOf(const Exchange& x) {
  const identity::KeyRecord& key = *x.principal->key;
  WalletAsker asker{.key = x.principal->key, .wallet = {}};
  const config::Config& config = x.config();
  const config::Package& package =
      config.packages[config.PackageOf(key.name, key.workspace, key.package)];
  if (const auto unit = UnitOf(package.wallet)) {
    asker.wallet = WalletOf(key, *unit);
    asker.unit = *unit;
  }
  return asker;
}

// Quota tokens as a number; dollars as a decimal text, exact in every client.
void AppendAmount(std::string& out, std::string_view name, ledger::Amount amount,
                  ledger::Unit unit) {
  out += '"';
  out += name;
  out += "\":";
  if (unit == ledger::Unit::kQuotaToken) {
    out += std::to_string(amount.n);
  } else {
    out += '"';
    out += FormatUsd(ledger::UsdOf(amount));
    out += '"';
  }
}

void AppendTime(std::string& out, std::string_view name, Instant at, Instant none) {
  out += '"';
  out += name;
  out += "\":";
  if (at == none) {
    out += "null";
    return;
  }
  out += '"';
  out += config::FormatTime(at);
  out += '"';
}

std::string_view CategoryText(ledger::GrantCategory category) {
  switch (category) {
    case ledger::GrantCategory::kPaid:
      return "paid";
    case ledger::GrantCategory::kPromo:
      return "promo";
    case ledger::GrantCategory::kPlan:
      return "plan";
  }
  return "paid";
}

void AppendGrant(std::string& out, const GrantView& grant, ledger::Unit unit) {
  out += "{\"id\":\"grant_" + ToString(grant.id) + "\",\"category\":\"";
  out += CategoryText(grant.category);
  out += "\",";
  AppendAmount(out, "amount", grant.amount, unit);
  out += ',';
  AppendAmount(out, "remaining", grant.remaining, unit);
  out += ',';
  AppendAmount(out, "held", grant.held, unit);
  out += ',';
  AppendTime(out, "effective_at", grant.effective_at, Instant{});
  out += ',';
  AppendTime(out, "expires_at", grant.expires_at, ledger::kNoExpiry);
  out += '}';
}

void AppendWallet(std::string& out, const WalletAsker& asker, const WalletView& view) {
  const std::string& workspace = asker.key->workspace;
  out += "{\"owner\":";
  if (workspace.empty()) {
    out += "\"key\"";
  } else {
    dialect::AppendJsonString(out, "workspace:" + workspace);
  }
  out +=
      view.unit == ledger::Unit::kQuotaToken ? ",\"unit\":\"quota_token\"," : ",\"unit\":\"usd\",";
  AppendAmount(out, "available", view.available, view.unit);
  out += ',';
  AppendAmount(out, "held", view.held, view.unit);
  out += ',';
  AppendAmount(out, "upcoming", view.upcoming, view.unit);
  out += ',';
  AppendAmount(out, "spent", view.spent, view.unit);
  out += ",\"grants\":[";
  const std::size_t shown = std::min(view.grants.size(), kGrantsShown);
  for (std::size_t i = 0; i < shown; ++i) {
    if (i > 0) out += ',';
    AppendGrant(out, view.grants[i], view.unit);
  }
  out += "],\"grants_more\":" + std::to_string(view.grants.size() - shown) + '}';
}

void AppendUsd(std::string& out, std::string_view name, NanoUsd amount) {
  AppendAmount(out, name, ledger::AmountOf(amount), ledger::Unit::kNanoUsd);
}

void AppendBudget(std::string& out, const identity::KeyRecord& key,
                  const std::optional<KeyStanding>& known) {
  const KeyStanding standing = known.value_or(KeyStanding{});
  out += "{";
  if (key.limits.budget) {
    const NanoUsd budget = *key.limits.budget;
    const PicoUsd left = PicoUsd{budget.n} - standing.settled.n - standing.held.n;
    AppendUsd(out, "limit_usd", budget);
    out += ',';
    AppendUsd(out, "remaining_usd", NanoUsd{static_cast<std::int64_t>(std::max(left, PicoUsd{0}))});
  } else {
    out += "\"limit_usd\":null,\"remaining_usd\":null";
  }
  out += ',';
  AppendUsd(out, "spent_usd", standing.settled);
  out += ',';
  AppendUsd(out, "held_usd", standing.held);
  out += '}';
}

// The value of a name in a query. None when it is not there; what is not plain is refused by the
// one who reads it.
std::optional<std::string_view> InQuery(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == name) return pair.substr(std::min(equals + 1, pair.size()));
  }
  return std::nullopt;
}

// The code of {"code": "..."}, or why there is none.
std::expected<std::string, RefusalReason> CodeOf(std::string_view body) {
  const auto wrong = [](std::string message) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kInvalidRequest,
                                         .message = std::move(message),
                                         .param = "code",
                                         .hint = "Send {\"code\": \"...\"}"});
  };
  if (auto checked = dialect::CheckJson(body, 4); !checked) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kInvalidJson});
  }
  const std::string_view object = dialect::TrimJson(body);
  constexpr std::array<std::string_view, 1> kNames = {"code"};
  std::array<dialect::JsonMember, 1> found{};
  if (dialect::KindOf(object) != dialect::JsonKind::kObject) return wrong("The body is no object");
  if (!dialect::FindMembers(object, kNames, found)) return wrong("code is given twice");
  const std::string_view value = found.front().value;
  if (dialect::KindOf(value) != dialect::JsonKind::kString || value.size() > kCodeBytesMax) {
    return wrong("code is missing, or no text that could be one");
  }
  return dialect::DecodeJson(dialect::InsideQuotes(value));
}

std::string GivenBody(const WalletAsker& asker, const ledger::GrantRecord& grant,
                      const std::optional<WalletView>& view) {
  std::string out = "{\"object\":\"redemption\",\"unit\":";
  out += grant.unit == ledger::Unit::kQuotaToken ? "\"quota_token\"" : "\"usd\"";
  out += ",\"grant\":{\"id\":\"grant_" + ToString(grant.grant) + "\",\"category\":\"";
  out += CategoryText(grant.category);
  out += "\",";
  AppendAmount(out, "amount", grant.amount, grant.unit);
  out += ',';
  AppendTime(out, "expires_at", grant.expires_at, ledger::kNoExpiry);
  out += "},\"wallet\":";
  if (view) {
    AppendWallet(out, asker, *view);
  } else {
    out += "null";
  }
  out += '}';
  return out;
}

}  // namespace

std::string Balance(const Exchange& x, Credit& credit) {
  const identity::KeyRecord& key = *x.principal->key;
  const WalletAsker asker = AskerOf(x);
  std::string out = "{\"object\":\"balance\",\"wallet\":";
  if (asker.wallet) {
    WalletView view{.id = *asker.wallet, .unit = asker.unit};
    if (auto known = credit.Wallet(*asker.wallet)) view = *std::move(known);
    AppendWallet(out, asker, view);
  } else {
    out += "null";
  }
  out += ",\"budget\":";
  AppendBudget(out, key, credit.Standing(key.id));
  out += '}';
  return out;
}

Task<std::expected<std::string, RefusalReason>> Statement(Exchange& x, Ports& ports) {
  std::int64_t limit = kStatementDefault;
  if (const auto text = InQuery(x.head->query, "limit")) {
    const auto count = config::ParseCount(*text);
    if (!count || *count < 1 || *count > kStatementMax) {
      co_return std::unexpected(
          RefusalReason{.refusal = Refusal::kInvalidRequest,
                        .message = "limit must be from 1 to " + std::to_string(kStatementMax),
                        .param = "limit"});
    }
    limit = *count;
  }
  const std::string_view before = InQuery(x.head->query, "before").value_or("");
  if (ports.wallets == nullptr) {
    co_return std::unexpected(RefusalReason{.refusal = Refusal::kStatementUnavailable});
  }
  Result<std::string> page =
      before.size() > kBeforeBytesMax
          ? Result<std::string>(Fail(ErrorCode::kBadInput, ErrorSource::kCaller, ""))
          : co_await ports.wallets->Statement(AskerOf(x), limit, std::string(before));
  if (page) co_return *std::move(page);
  if (page.error().code == ErrorCode::kBadInput) {
    co_return std::unexpected(
        RefusalReason{.refusal = Refusal::kInvalidRequest,
                      .message = "before must be the next_before of the page before",
                      .param = "before"});
  }
  co_return std::unexpected(RefusalReason{.refusal = Refusal::kStatementUnavailable});
}

Task<std::expected<std::string, RefusalReason>> Redeem(Exchange& x, Ports& ports) {
  const auto body = co_await ports.downstream.ReadBody(kRedeemBytesMax);
  if (!body) co_return std::unexpected(ExplainBody(body.error()));
  auto code = CodeOf(*body);
  if (!code) co_return std::unexpected(code.error());
  const WalletAsker asker = AskerOf(x);
  if (!asker.wallet || ports.wallets == nullptr) {
    co_return std::unexpected(RefusalReason{.refusal = Refusal::kNoWallet});
  }
  const RedeemReply reply = co_await ports.wallets->Redeem(asker, *std::move(code));
  RefusalReason reason;
  switch (reply.status) {
    case RedeemStatus::kGiven:
      co_return GivenBody(asker, reply.grant, ports.credit.Wallet(*asker.wallet));
    case RedeemStatus::kNotValid:
      reason.refusal = Refusal::kCodeNotValid;
      reason.param = "code";
      break;
    case RedeemStatus::kTaken:
      reason.refusal = Refusal::kCodeRedeemed;
      reason.hint = "Each code can be redeemed once";
      break;
    case RedeemStatus::kOtherUnit:
      reason.refusal = Refusal::kNoWallet;
      reason.hint = "The code is for a wallet of another unit";
      break;
    case RedeemStatus::kTooMany:
      reason.refusal = Refusal::kTooManyCodes;
      x.admission.retry_after = reply.retry_after;
      break;
    case RedeemStatus::kUnavailable:
      reason.refusal = Refusal::kLedgerUnavailable;
      break;
  }
  co_return std::unexpected(std::move(reason));
}

}  // namespace weir::gateway

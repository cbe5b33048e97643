// Runs test/scenarios/*.case: the path of a request told as a script. Each case is one test.
//
//   # name: admit/hard_cap_refuses_before_dial
//   # why:  one or more lines
//   key      K [permissions=a,b] [models=a,b] [environment=E] [state=S] [budget=USD] [rpm=N]
//   [tpm=N]
//            [concurrent=N] [expires=SECONDS_FROM_NOW] [workspace=W] [codex=yes] [downgrade=no]
//            [rule:PATH=JSON ...] [is:DIMENSION=VALUE ...] [metadata=user,team,...]
//   model    M [upstream:name ...] [input=USD output=USD cached=USD request=USD | unpriced]
//            [output_max=N] [input_max=N] [cache_write=USD] [permission=P]
//            [capability=responses,chat,messages,generate_content,transcription]
//            [hang_up=RULE] [multiplier=N] [audio_second=USD] [tool_call=USD]
//            [family=F] [class=C] [service=priority]
//            [tier=ABOVE:INPUT:OUTPUT ...] [from=UNIX_SECONDS] a second line of a model is its
//            price from then on
//   account  A U [concurrency=N] [priority=N] [weight=N] [models=a,b] [keys=K] [profile=strict]
//            [capability=responses,...] [enabled=no] [expires=SECONDS_FROM_NOW]
//            an account of upstream U; its replies are scripted under A. None: one named as U is
//   serve    A ...                            what is not scripted is answered with the name of A
//   policy   ID [UNIT=LIMIT] [window=KIND] [sliding=yes] [if:DIMENSION=a,b ...] [not:DIMENSION=a
//   ...]
//            [per=team,user] [action=block|degrade|approval|alert] [to=MODEL] [firm=yes]
//            [shadow=yes] [clamp=no] [status=402] [owner=O] [contact=C] [attempts=N]
//            [fallback_attempts=N] [fallback_spend=USD] [final=CLASS,...]      limits in the unit:
//            USD, tokens, seconds
//   raise    ID LIMIT                         more of a policy, for ever, in steps
//   wallet   quota_tokens | usd [low=N] [hold=adaptive]   of every key; models have multiplier=N
//   grant    K N                              to its wallet: quota tokens, or millionths of a USD
//   lose                                      the replies that were kept
//   queue    [size=N] [per_key=N] [wait=SECONDS] [concurrency=N]   of the pool
//   global   N                                calls to upstreams at once, of the node
//   downgrade M TO PERCENT
//   upstreamkind U openai | anthropic | gemini
//   rule     abort_and_bill_observed | abort_and_void | drain_and_bill
//   reply    U STATUS [header:value ...]      then the body's pieces, one a line, until `end`.
//            \n \r \t \\ and \xHH are escapes; @cut, @wait, @idle are acts
//   reply    U fail connect | timeout | lost | garbage | hang
//   client   C METHOD PATH [key=K] [name:value ...] [BODY, the rest of the line from its '{']
//   client   C METHOD PATH [key=K] [name:value ...] form PART=TEXT ...   multipart/form-data with
//   the
//            boundary b0; file=@wav:MS is a file of so many milliseconds, file=@bytes:N one of N
//            bytes
//            @D in a PATH is the id of the request of client D
//   resume   U                                lets an upstream go on from @wait
//   hangup   C | drain C
//   advance  DURATION (5s, 100ms)
//   journal  at_once | held | full | flush
//   expect   C status N | ending NAME | complete | cut | open | refusal NAME
//   expect   C same D                         the two bodies are equal
//   expect   C body TEXT | body contains TEXT | body lacks TEXT | writes N
//   expect   C header NAME VALUE | header NAME absent
//   expect   C audio MILLISECONDS
//   expect   C usage IN/CACHED/OUT/REASONING SOURCE | charged USD | overrun USD | held USD
//   expect   key K spent USD held USD
//   expect   wallet K left N held N spent N   in quota tokens or nano-USD
//   expect   quota ID[?VALUES] settled N held N   in steps of its unit
//   expect   upstream U calls N | open N | path TEXT | body TEXT | body contains TEXT | lacks TEXT
//   expect   upstream U header NAME VALUE | header NAME absent
//   expect   reservations N | checkpoints N
//   expect   capacity USABLE/ACCOUNTS CALLS   of the pool, as operators see it
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "config/accounts.h"
#include "gateway/pipeline.h"
#include "gateway/wallet_owner.h"
#include "identity/key_record.h"
#include "scenario/world.h"

namespace weir::scenario {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string file;
  std::string name;
  std::vector<std::pair<int, std::string>> lines;  // number, text
};

std::string Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x':
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
        break;
      default:
        out += '\\', out += text[i];
    }
  }
  return out;
}

std::vector<std::string> Words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::vector<std::string> Commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

// "name=value" or "name:value" with the first separator.
std::pair<std::string, std::string> Split(const std::string& word, char separator) {
  const auto at = word.find(separator);
  if (at == std::string::npos) return {word, ""};
  return {word.substr(0, at), word.substr(at + 1)};
}

std::optional<std::string> HeaderIn(const std::string& lines, const std::string& name) {
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const auto [key, value] = Split(line, ':');
    if (gateway::EqualsIgnoreCase(key, name)) {
      return value.empty() ? value : value.substr(value.find_first_not_of(' '));
    }
  }
  return std::nullopt;
}

class Runner {
 public:
  explicit Runner(const Case& script) : script_(script) {
    config_.brand = {
        .name = "Weir", .key_prefix = "wr_", .header_prefix = "x-weir", .docs_url = ""};
    config_.environment = "production";
  }

  ~Runner() {
    // Whatever a script left open ends before its world does.
    for (auto& [name, caller] : callers_) caller->HangUp();
    credit_.journal = ScriptedCredit::Journal::kAtOnce;
    credit_.Flush();
  }

  void Run() {
    for (at_ = 0; at_ < script_.lines.size(); ++at_) {
      const auto& [number, line] = script_.lines[at_];
      SCOPED_TRACE(script_.file + ":" + std::to_string(number) + ": " + line);
      Do(line);
      if (testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  void Do(const std::string& line) {
    const auto words = Words(line);
    const std::string& verb = words.at(0);
    if (verb == "key") return AddKey(words);
    if (verb == "model") return AddModel(words);
    if (verb == "upstreamkind") return SetKind(words);
    if (verb == "account") return AddAccount(words);
    if (verb == "queue") return SetQueue(words);
    if (verb == "global") {
      config_.concurrency = std::stoll(words.at(1));
      return;
    }
    if (verb == "lose") return replies_.Lose();
    if (verb == "wallet") return SetWallet(words);
    if (verb == "policy") return AddPolicy(words);
    if (verb == "raise") {
      config_.raises.push_back({.approval = "a",
                                .policy = words.at(1),
                                .values = {},
                                .amount = std::stoll(words.at(2)),
                                .from = {0},
                                .to = {INT64_MAX}});
      return;
    }
    if (verb == "grant") return GiveGrant(words);
    if (verb == "serve") return ServeAlways(words);
    if (verb == "downgrade") return SetDowngrade(words);
    if (verb == "rule") return SetRule(words.at(1));
    if (verb == "reply") return AddReply(words);
    if (verb == "client") return StartClient(words, line);
    if (verb == "resume") return upstreams_.accounts[words.at(1)].resume.Set();
    if (verb == "hangup") return callers_.at(words.at(1))->HangUp();
    if (verb == "drain") {
      return callers_.at(words.at(1))->Interrupt(gateway::Interruption::kDrain);
    }
    if (verb == "advance") return Advance(words.at(1));
    if (verb == "journal") return SetJournal(words.at(1));
    if (verb == "expect") return Expect(words, line);
    FAIL() << "unknown verb " << verb;
  }

  void AddKey(const std::vector<std::string>& words) {
    identity::NewKey wanted{.name = words.at(1),
                            .environment = "production",
                            .permissions = {"openai"},
                            .models = {},
                            .expires_at = {},
                            .workspace = {},
                            .limits = {}};
    identity::KeyState state = identity::KeyState::kActive;
    wanted.limits.requests_per_minute = 0;
    for (std::size_t i = 2; i < words.size(); ++i) {
      const auto [name, value] = Split(words[i], '=');
      if (name == "permissions")
        wanted.permissions = Commas(value);
      else if (name == "models")
        wanted.models = Commas(value);
      else if (name == "environment")
        wanted.environment = value;
      else if (name == "budget")
        wanted.limits.budget = ParseUsd(value);
      else if (name == "rpm")
        wanted.limits.requests_per_minute = std::stoll(value);
      else if (name == "tpm")
        wanted.limits.tokens_per_minute = std::stoll(value);
      else if (name == "concurrent")
        wanted.limits.concurrent_requests = std::stoll(value);
      else if (name == "workspace")
        wanted.workspace = value;
      else if (name == "codex")
        wanted.codex_adaptation = value == "yes";
      else if (name == "downgrade")
        wanted.allow_downgrade = value == "yes";
      else if (name.starts_with("rule:")) {  // rule:PATH=JSON, without blanks
        const auto rule = dialect::ParsePayloadRule(name.substr(5), value);
        ASSERT_TRUE(rule) << rule.error();
        wanted.payload_rules.push_back(*rule);
      } else if (name.starts_with("is:")) {
        wanted.attributes.push_back({DimensionNamed(name.substr(3)), value});
        std::ranges::sort(wanted.attributes, {}, &config::Attribute::dimension);
      } else if (name == "metadata") {
        for (const auto& dimension : Commas(value)) {
          wanted.metadata |= config::BitOf(DimensionNamed(dimension));
        }
      } else if (name == "expires")
        wanted.expires_at = runtime_.now + Seconds(std::stoll(value));
      else if (name == "state") {
        state = value == "disabled" ? identity::KeyState::kDisabled : identity::KeyState::kRevoked;
      } else
        FAIL() << "unknown attribute " << name;
    }
    std::uint64_t id = keys_.size() + 1;
    auto made = identity::MakeKeyWithSecret(wanted, KeyId{{id, id}}, "wr_", *pepper_,
                                            Secret("secret-of-" + words.at(1)), runtime_.now);
    made.record.state = state;
    ids_[words.at(1)] = made.record.id;
    keys_ = keys_.With(made.record);
  }

  void AddModel(const std::vector<std::string>& words) {
    config::Model model;
    model.id = words.at(1);
    model.owned_by = "scenario";
    if (model.id == "*") model.capabilities = config::kCapsOfWildcard;
    config::Price price;
    bool priced = true;
    std::optional<Instant> valid_from;
    for (std::size_t i = 2; i < words.size(); ++i) {
      const auto [name, value] = Split(words[i], '=');
      if (name == "unpriced")
        priced = false;
      else if (name == "input") {
        price.input = *ParseUsdPerMillion(value);
        price.cached_input = price.cache_write = price.input;
      } else if (name == "output")
        price.output = *ParseUsdPerMillion(value);
      else if (name == "cached")
        price.cached_input = *ParseUsdPerMillion(value);
      else if (name == "cache_write")
        price.cache_write = *ParseUsdPerMillion(value);
      else if (name == "request")
        price.per_request = *ParseUsd(value);
      else if (name == "tool_call")
        price.tool_call = *ParseUsd(value);
      else if (name == "audio_second")
        price.audio_second = *ParseUsd(value);
      else if (name == "tier") {
        // Behind the rates: ABOVE:INPUT:OUTPUT.
        const auto [above, rates] = Split(value, ':');
        const auto [input, output] = Split(rates, ':');
        config::PriceTier tier{std::stoll(above), config::BaseRates(price)};
        tier.rates.input = *ParseUsdPerMillion(input);
        tier.rates.output = *ParseUsdPerMillion(output);
        price.tiers.push_back(tier);
      } else if (name == "from")
        valid_from = Instant{std::stoll(value) * 1'000'000'000};
      else if (name == "output_max")
        model.output_tokens_max = std::stoll(value);
      else if (name == "input_max")
        model.input_tokens_max = std::stoll(value);
      else if (name == "permission")
        model.permission = value;
      else if (name == "family")
        model.family = value;
      else if (name == "class")
        model.model_class = value;
      else if (name == "service")
        model.service_tiers.push_back(value);
      else if (name == "hang_up")
        model.on_hang_up = RuleNamed(value);
      else if (name == "multiplier")
        model.multiplier.ppm = ParseUsdPerMillion(value)->p;
      else if (name == "capability") {
        model.capabilities = Capabilities(value);
      } else {
        const auto [upstream, upstream_model] = Split(words[i], ':');
        model.routes.push_back({UpstreamIndex(upstream), upstream_model});
      }
    }
    if (priced) {
      CHECK(!config::PriceFault(price), "a scenario's prices are in order");
      const auto known = std::ranges::find(config_.models, model.id, &config::Model::id);
      if (known != config_.models.end()) {
        known->price.Add(valid_from, price);
        return;
      }
      model.price.Add(valid_from, price);
    }
    config_.models.push_back(std::move(model));
  }

  static config::Dimension DimensionNamed(const std::string& name) {
    const auto found = std::ranges::find(config::kDimensionNames, name);
    CHECK(found != config::kDimensionNames.end(), "a scenario names a dimension");
    return static_cast<config::Dimension>(found - config::kDimensionNames.begin());
  }

  static config::Condition ConditionOf(const std::string& dimension, const std::string& values) {
    config::Condition condition{DimensionNamed(dimension), Commas(values)};
    std::ranges::sort(condition.values);
    return condition;
  }

  void AddPolicy(const std::vector<std::string>& words) {
    static constexpr std::array<std::string_view, 9> kWindows = {
        "minute", "hour", "day", "week", "month", "campaign", "lifetime", "request", "action"};
    static constexpr std::array<std::string_view, 4> kActions = {"block", "degrade", "approval",
                                                                 "alert"};
    config::Policy policy;
    policy.id = words.at(1);
    const auto place = [](const auto& names, const std::string& name) {
      const auto found = std::ranges::find(names, name);
      CHECK(found != names.end(), "a scenario names what there is");
      return found - names.begin();
    };
    for (std::size_t i = 2; i < words.size(); ++i) {
      const auto [name, value] = Split(words[i], '=');
      if (name == "window") {
        policy.window.kind = static_cast<config::WindowKind>(place(kWindows, value));
      } else if (name == "sliding") {
        policy.window.sliding = value == "yes";
      } else if (name.starts_with("if:")) {
        policy.match.push_back(ConditionOf(name.substr(3), value));
      } else if (name.starts_with("not:")) {
        policy.except.push_back(ConditionOf(name.substr(4), value));
      } else if (name == "per") {
        for (const auto& dimension : Commas(value)) {
          policy.per.push_back(DimensionNamed(dimension));
        }
      } else if (name == "action") {
        policy.action = static_cast<config::PolicyAction>(place(kActions, value));
      } else if (name == "to") {
        policy.degrade_to = value;
      } else if (name == "firm") {
        policy.cap = config::CapKind::kFirm;
      } else if (name == "shadow") {
        policy.shadow = value == "yes";
      } else if (name == "clamp") {
        policy.clamp = value == "yes";
      } else if (name == "status") {
        policy.over_limit_status = std::stoi(value);
      } else if (name == "owner") {
        policy.owner = value;
      } else if (name == "contact") {
        policy.contact = value;
      } else if (name == "condition") {
        policy.approval.condition = value;
      } else if (name == "attempts") {
        policy.retry.attempts = std::stoll(value);
      } else if (name == "fallback_attempts") {
        policy.retry.fallback_attempts = std::stoll(value);
      } else if (name == "fallback_spend") {
        policy.retry.fallback_spend = ParseUsd(value);
      } else if (name == "final") {
        policy.retry.non_retryable = Commas(value);
      } else {
        const auto unit = place(config::kQuotaUnitNames, name);
        policy.unit = static_cast<config::QuotaUnit>(unit);
        policy.limit = config::IsMoney(policy.unit) && policy.unit != config::QuotaUnit::kCredits
                           ? ParseUsd(value)->n
                           : std::stoll(value) * config::StepsOf(policy.unit);
      }
    }
    config_.policies.push_back(std::move(policy));
  }

  // wallet quota_tokens|usd [low=N] [hold=adaptive]: of every key
  void SetWallet(const std::vector<std::string>& words) {
    wallet_.wallet = words.at(1) == "quota_tokens" ? config::WalletKind::kQuotaTokens
                     : words.at(1) == "usd"        ? config::WalletKind::kUsd
                                                   : config::WalletKind::kNone;
    for (std::size_t i = 2; i < words.size(); ++i) {
      const auto [name, value] = Split(words[i], '=');
      if (name == "low") wallet_.wallet_low = std::stoll(value);
      if (name == "hold") wallet_.hold = config::HoldRule::kAdaptive;
    }
  }

  // grant KEY AMOUNT, as the file writes it
  void GiveGrant(const std::vector<std::string>& words) {
    const ledger::Unit unit = *gateway::UnitOf(wallet_.wallet);
    const identity::KeyRecordPtr key = keys_.FindById(ids_.at(words.at(1)));
    ++grants_;
    const auto reply = credit_.Give({.grant = {{9, grants_}},
                                     .wallet = gateway::WalletOf(*key, unit),
                                     .unit = unit,
                                     .amount = gateway::WalletAmount(std::stoll(words.at(2)), unit),
                                     .effective_at = runtime_.now});
    EXPECT_EQ(reply.status, gateway::GrantStatus::kCreated);
  }

  static std::uint32_t Capabilities(const std::string& list) {
    std::uint32_t all = 0;
    for (const auto& capability : Commas(list)) {
      all |= capability == "chat"               ? config::kCapChat
             : capability == "messages"         ? config::kCapMessages
             : capability == "generate_content" ? config::kCapGenerateContent
             : capability == "transcription"    ? config::kCapTranscription
                                                : config::kCapResponses;
    }
    return all;
  }

  std::uint32_t UpstreamIndex(const std::string& name) {
    for (std::uint32_t i = 0; i < config_.upstreams.size(); ++i) {
      if (config_.upstreams[i].name == name) return i;
    }
    config::Upstream upstream;
    upstream.name = name;
    upstream.host = name + ".example";
    upstream.base_path = "/v1";
    upstream.api_key = Secret("upstream-key-of-" + name);
    config_.upstreams.push_back(std::move(upstream));
    return static_cast<std::uint32_t>(config_.upstreams.size() - 1);
  }

  void SetKind(const std::vector<std::string>& words) {
    config::Upstream& upstream = config_.upstreams[UpstreamIndex(words.at(1))];
    upstream.kind = words.at(2) == "anthropic" ? config::UpstreamKind::kAnthropic
                    : words.at(2) == "gemini"  ? config::UpstreamKind::kGemini
                                               : config::UpstreamKind::kOpenAi;
    if (words.at(2) == "gemini") upstream.base_path = "/v1beta";
  }

  void AddAccount(const std::vector<std::string>& words) {
    config::Account account;
    account.id = words.at(1);
    account.upstream = UpstreamIndex(words.at(2));
    for (std::size_t i = 3; i < words.size(); ++i) {
      const auto [name, value] = Split(words[i], '=');
      if (name == "concurrency")
        account.concurrency = std::stoll(value);
      else if (name == "priority")
        account.priority = std::stoi(value);
      else if (name == "weight")
        account.weight = std::stoi(value);
      else if (name == "models")
        account.models = Commas(value);
      else if (name == "keys")
        account.keys = Commas(value);
      else if (name == "enabled")
        account.enabled = value == "yes";
      else if (name == "expires")
        account.expires_at = runtime_.now + Seconds(std::stoll(value));
      else if (name == "capability")
        account.capabilities = Capabilities(value);
      else if (name == "profile")
        account.adapt = value == "strict" ? config::AdaptProfile::kResponsesStrict
                                          : config::AdaptProfile::kOpenAiApi;
      else
        FAIL() << "unknown: " << name;
    }
    config_.accounts.push_back(std::move(account));
  }

  // Each account answers what is not scripted with a reply that tells its name.
  void ServeAlways(const std::vector<std::string>& words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      ScriptedReply reply;
      reply.headers.emplace_back("content-type", "application/json");
      reply.pieces.push_back(
          "{\"id\":\"from-" + words[i] +
          "\",\"model\":\"m\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}");
      upstreams_.accounts[words[i]].always = reply;
    }
  }

  void SetQueue(const std::vector<std::string>& words) {
    if (config_.pools.empty()) config_.pools.push_back({.name = "default"});
    auto& queue = config_.pools.front().queue;
    for (std::size_t i = 1; i < words.size(); ++i) {
      const auto [name, value] = Split(words[i], '=');
      if (name == "size")
        queue.size = std::stoll(value);
      else if (name == "per_key")
        queue.per_key = std::stoll(value);
      else if (name == "wait")
        queue.wait = Seconds(std::stoll(value));
      else if (name == "concurrency")
        config_.pools.front().concurrency = std::stoll(value);
      else
        FAIL() << "unknown: " << name;
    }
  }

  void SetDowngrade(const std::vector<std::string>& words) {
    for (auto& model : config_.models) {
      if (model.id == words.at(1)) {
        model.downgrade = {.to = words.at(2), .above_percent = std::stoll(words.at(3))};
      }
    }
  }

  static config::HangUpRule RuleNamed(const std::string& name) {
    return name == "abort_and_void"   ? config::HangUpRule::kAbortAndVoid
           : name == "drain_and_bill" ? config::HangUpRule::kDrainAndBill
                                      : config::HangUpRule::kAbortAndBillObserved;
  }
  void SetRule(const std::string& name) { config_.hang_up_rule = RuleNamed(name); }

  void AddReply(const std::vector<std::string>& words) {
    ScriptedReply reply;
    if (words.at(2) == "fail") {
      const std::string& how = words.at(3);
      reply.hangs = how == "hang";
      reply.fail = how == "connect"   ? ErrorCode::kConnectFailed
                   : how == "timeout" ? ErrorCode::kTimeout
                   : how == "hang"    ? ErrorCode::kTimeout
                   : how == "lost"    ? ErrorCode::kConnectionLost
                                      : ErrorCode::kBadInput;
      upstreams_.accounts[words.at(1)].script.push_back(std::move(reply));
      return;
    }
    reply.status = std::stoi(words.at(2));
    for (std::size_t i = 3; i < words.size(); ++i) reply.headers.push_back(Split(words[i], ':'));
    while (++at_ < script_.lines.size() && script_.lines[at_].second != "end") {
      const std::string& piece = script_.lines[at_].second;
      reply.pieces.push_back(piece.starts_with('@') ? piece : Unescape(piece));
    }
    upstreams_.accounts[words.at(1)].script.push_back(std::move(reply));
  }

  // PCM of 8 kHz and 16 bits: 16 bytes a millisecond.
  static std::string WavFile(std::size_t ms) {
    const auto little = [](std::size_t value, int bytes) {
      std::string text;
      for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
      return text;
    };
    const std::size_t size = ms * 16;
    return "RIFF" + little(36 + size, 4) + "WAVEfmt " + little(16, 4) + little(1, 2) +
           little(1, 2) + little(8'000, 4) + little(16'000, 4) + little(2, 2) + little(16, 2) +
           "data" + little(size, 4) + std::string(size, '\0');
  }

  static std::string Form(const std::vector<std::string>& parts) {
    std::string body;
    for (const std::string& part : parts) {
      const auto [name, value] = Split(part, '=');
      body += "--b0\r\nContent-Disposition: form-data; name=\"" + name + "\"";
      if (!value.starts_with('@')) {
        body += "\r\n\r\n" + Unescape(value) + "\r\n";
        continue;
      }
      const auto [kind, size] = Split(value, ':');
      body += "; filename=\"audio\"\r\nContent-Type: application/octet-stream\r\n\r\n";
      body += kind == "@wav" ? WavFile(std::stoul(size)) : std::string(std::stoul(size), 'x');
      body += "\r\n";
    }
    return body + "--b0--\r\n";
  }

  void StartClient(const std::vector<std::string>& words, const std::string& line) {
    auto caller = std::make_unique<Caller>();
    caller->method = words.at(2);
    const auto [path, query] = Split(words.at(3), '?');
    caller->path = path;
    if (const auto at = path.find('@'); at != std::string::npos) {
      const auto& asked = *callers_.at(path.substr(at + 1));
      caller->path = path.substr(0, at) + "req_" + ToString(asked.exchange.id);
    }
    caller->query = query;
    std::size_t i = 4;
    for (; i < words.size() && words[i].front() != '{' && words[i].front() != '!'; ++i) {
      if (words[i] == "form") {
        caller->headers.emplace_back("content-type", "multipart/form-data; boundary=b0");
        caller->body = Form({words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end()});
        i = words.size();
        break;
      }
      if (words[i].starts_with("key=")) {
        caller->headers.emplace_back("authorization", "Bearer secret-of-" + words[i].substr(4));
      } else {
        caller->headers.push_back(Split(words[i], ':'));
      }
    }
    // A body starts at its brace, or behind a '!' when it is meant to be no JSON.
    if (i < words.size()) {
      const auto brace = line.find(words[i], line.find(words.at(3)) + words.at(3).size());
      caller->body = Unescape(line.substr(brace + (words[i].front() == '!' ? 1 : 0)));
    }
    caller->body.reserve(caller->body.size() + 64);
    caller->head.method = caller->method;
    caller->head.path = caller->path;
    caller->head.query = caller->query;
    for (const auto& [name, value] : caller->headers) caller->head.headers.push_back({name, value});

    auto& x = caller->exchange;
    x.id = RequestId{MakeId(runtime_.now, runtime_.random.Next(), runtime_.random.Next())};
    x.started_at = runtime_.now;
    x.head = &caller->head;
    config::Config finished = config_;
    config::FinishAccounts(finished);
    for (config::Package& package : finished.packages) {
      package.wallet = wallet_.wallet;
      package.wallet_low = wallet_.wallet_low;
      package.hold = wallet_.hold;
    }
    const auto config = std::make_shared<const config::Config>(std::move(finished));
    accounts_.Configure(config);
    snapshots_.push_back(std::make_unique<gateway::Snapshot>(gateway::Snapshot{
        config, std::make_shared<const identity::KeyTable>(keys_), pepper_,
        std::make_shared<const policy::PolicySet>(config->policies, config->raises)}));
    x.snapshot = snapshots_.back().get();
    x.reader = &reader_;
    x.timings.started_at = runtime_.Now();
    Caller& started = *caller;
    callers_[words.at(1)] = std::move(caller);
    Spawn(Serve(started));
  }

  Task<void> Serve(Caller& caller) {
    gateway::Ports ports{.downstream = caller,
                         .upstreams = upstreams_,
                         .credit = credit_,
                         .accounts = accounts_,
                         .receipts = &receipts_,
                         .replies = &replies_,
                         .approvals = &approvals_};
    co_await gateway::Serve(caller.exchange, ports, runtime_);
    caller.finished = true;
  }

  void Advance(const std::string& text) {
    const std::int64_t n = std::stoll(text);
    runtime_.now = runtime_.now + (text.ends_with("ms") ? Milliseconds(n) : Seconds(n));
    accounts_.Advance();
  }

  void SetJournal(const std::string& how) {
    if (how == "flush") return credit_.Flush();
    credit_.journal = how == "held"   ? ScriptedCredit::Journal::kHeld
                      : how == "full" ? ScriptedCredit::Journal::kFull
                                      : ScriptedCredit::Journal::kAtOnce;
  }

  // The rest of a line behind its first `count` words.
  static std::string Rest(const std::string& line, std::size_t count) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < count; ++i) {
      at = line.find_first_not_of(' ', at);
      at = line.find(' ', at);
    }
    at = line.find_first_not_of(' ', at);
    return at == std::string::npos ? std::string() : Unescape(line.substr(at));
  }

  static void ExpectText(const std::string& actual, const std::vector<std::string>& words,
                         const std::string& line, std::size_t at) {
    if (words.at(at) == "contains") {
      EXPECT_NE(actual.find(Rest(line, at + 1)), std::string::npos) << "is: " << actual;
    } else if (words.at(at) == "lacks") {
      EXPECT_EQ(actual.find(Rest(line, at + 1)), std::string::npos) << "is: " << actual;
    } else {
      EXPECT_EQ(actual, Rest(line, at));
    }
  }

  static void ExpectHeader(const std::string& lines, const std::vector<std::string>& words,
                           const std::string& line, std::size_t at) {
    const auto value = HeaderIn(lines, words.at(at));
    if (words.at(at + 1) == "absent") {
      EXPECT_EQ(value, std::nullopt);
    } else {
      EXPECT_EQ(value, Rest(line, at + 1)) << "in: " << lines;
    }
  }

  void Expect(const std::vector<std::string>& words, const std::string& line) {
    const std::string& what = words.at(1);
    if (what == "reservations") {
      EXPECT_EQ(credit_.machine.Totals().requests_open, std::stoull(words.at(2)));
      EXPECT_EQ(credit_.machine.book().CheckInvariants(), std::nullopt);
      return;
    }
    if (what == "capacity") {
      const auto pool = accounts_.machine->ViewPool(0, runtime_.Now());
      EXPECT_EQ(std::to_string(pool.usable) + "/" + std::to_string(pool.accounts), words.at(2));
      EXPECT_EQ(pool.capacity, std::stoll(words.at(3)));
      return;
    }
    if (what == "checkpoints") {
      EXPECT_EQ(credit_.checkpoints, std::stoi(words.at(2)));
      return;
    }
    if (what == "wallet") {  // expect wallet KEY left N held N spent N
      const identity::KeyRecordPtr key = keys_.FindById(ids_.at(words.at(2)));
      const auto view = credit_.Wallet(gateway::WalletOf(*key, *gateway::UnitOf(wallet_.wallet)));
      ASSERT_TRUE(view);
      EXPECT_EQ(view->available.n, std::stoll(words.at(4)));
      EXPECT_EQ(view->held.n, std::stoll(words.at(6)));
      EXPECT_EQ(view->spent.n, std::stoll(words.at(8)));
      return;
    }
    if (what == "quota") {  // expect quota ID[?VALUES] settled N held N
      const auto [policy, values] = Split(words.at(2), '?');
      const gateway::CreditControl& machine = credit_.machine;
      for (std::uint32_t n = 0; n < machine.quotas().numbers(); ++n) {
        const auto view = machine.ViewQuota(n);
        if (!view || view->policy != policy || view->values != values) continue;
        EXPECT_EQ(view->settled, std::stoll(words.at(4)));
        EXPECT_EQ(view->held, std::stoll(words.at(6)));
        return;
      }
      FAIL() << "there is no such counter";
    }
    if (what == "key") {
      const auto standing = credit_.machine.Standing(ids_.at(words.at(2)));
      const auto of = [&](NanoUsd gateway::KeyStanding::* member) {
        return standing ? FormatUsd(*standing.*member) : "0";
      };
      EXPECT_EQ(of(&gateway::KeyStanding::settled), words.at(4));
      EXPECT_EQ(of(&gateway::KeyStanding::held), words.at(6));
      return;
    }
    if (what == "upstream") return ExpectUpstream(words, line);
    const Caller& caller = *callers_.at(what);
    const std::string& aspect = words.at(2);
    const auto& x = caller.exchange;
    if (aspect == "same")
      EXPECT_EQ(caller.received, callers_.at(words.at(3))->received);
    else if (aspect == "status")
      EXPECT_EQ(caller.status, std::stoi(words.at(3))) << caller.received;
    else if (aspect == "ending")
      EXPECT_EQ(Name(x.ending), words.at(3));
    else if (aspect == "refusal")
      EXPECT_EQ(TextOf(x.reason.refusal).name, words.at(3));
    else if (aspect == "complete")
      EXPECT_TRUE(caller.complete && caller.finished);
    else if (aspect == "cut")
      EXPECT_TRUE(caller.cut && caller.finished);
    else if (aspect == "open")
      EXPECT_TRUE(!caller.finished);
    else if (aspect == "body")
      ExpectText(caller.received, words, line, 3);
    else if (aspect == "writes")
      EXPECT_EQ(caller.writes.size(), std::stoull(words.at(3)));
    else if (aspect == "header")
      ExpectHeader(caller.reply_headers, words, line, 3);
    else if (aspect == "charged")
      EXPECT_EQ(FormatUsd(x.settlement.charged), words.at(3));
    else if (aspect == "overrun")
      EXPECT_EQ(FormatUsd(x.settlement.overrun), words.at(3));
    else if (aspect == "held")
      EXPECT_EQ(FormatUsd(x.admission.held), words.at(3));
    else if (aspect == "audio")
      EXPECT_EQ(x.usage.audio_ms, std::stoll(words.at(3)));
    else if (aspect == "usage") {
      EXPECT_EQ(std::to_string(x.usage.input_tokens) + "/" +
                    std::to_string(x.usage.cached_input_tokens) + "/" +
                    std::to_string(x.usage.output_tokens) + "/" +
                    std::to_string(x.usage.reasoning_tokens),
                words.at(3));
      EXPECT_EQ(Name(x.usage.source), words.at(4));
    } else
      FAIL() << "unknown aspect " << aspect;
  }

  void ExpectUpstream(const std::vector<std::string>& words, const std::string& line) {
    const auto& account = upstreams_.accounts[words.at(2)];
    const std::string& aspect = words.at(3);
    if (aspect == "calls") {
      EXPECT_EQ(account.calls.size(), std::stoull(words.at(4)));
      return;
    }
    if (aspect == "open") {
      EXPECT_EQ(account.open, std::stoi(words.at(4)));
      return;
    }
    ASSERT_FALSE(account.calls.empty());
    const auto& call = account.calls.back();
    if (aspect == "path")
      EXPECT_EQ(call.target, words.at(4));
    else if (aspect == "body")
      ExpectText(call.body, words, line, 4);
    else if (aspect == "header")
      ExpectHeader(call.headers, words, line, 4);
    else
      FAIL() << "unknown aspect " << aspect;
  }

  // Of exchanges that ended, a receipt that only names them.
  class ScriptedReceipts final : public gateway::Receipts {
   public:
    explicit ScriptedReceipts(Runner& runner) : runner_(runner) {}
    Task<Result<std::string>> Find(RequestId request,
                                   std::shared_ptr<const identity::KeyRecord> key,
                                   std::shared_ptr<const config::Config>) override {
      for (const auto& [name, caller] : runner_.callers_) {
        const gateway::Exchange& x = caller->exchange;
        if (!caller->finished || x.id != request || !x.principal) continue;
        if (x.principal->key->id == key->id) co_return "{\"receipt_of\":\"" + name + "\"}";
      }
      co_return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "");
    }

   private:
    Runner& runner_;
  };

  // Says what it was asked; a reason may tell it to refuse, or not to be there.
  class ScriptedApprovals final : public gateway::ApprovalDesk {
   public:
    Task<gateway::ApprovalReply> Ask(gateway::ApprovalWish wish) override {
      if (wish.reason == "down") co_return gateway::ApprovalReply{};
      if (wish.reason == "refuse") {
        co_return gateway::ApprovalReply{.status = gateway::ApprovalStatus::kRefused,
                                         .param = "reason",
                                         .message = "is refused"};
      }
      co_return gateway::ApprovalReply{
          .status = gateway::ApprovalStatus::kDone,
          .body = "{\"policy\":\"" + wish.policy + "\",\"counter\":\"" + wish.counter +
                  "\",\"amount\":" + std::to_string(wish.amount) +
                  ",\"seconds\":" + std::to_string(wish.duration.ns / 1'000'000'000) +
                  ",\"reason\":\"" + wish.reason + "\"}"};
    }
    Task<gateway::ApprovalReply> Find(std::shared_ptr<const identity::KeyRecord>,
                                      std::string id) override {
      if (id == "none") {
        co_return gateway::ApprovalReply{.status = gateway::ApprovalStatus::kNotFound};
      }
      co_return gateway::ApprovalReply{.status = gateway::ApprovalStatus::kDone,
                                       .body = "{\"id\":\"" + id + "\"}"};
    }
  };

  class ScriptedReplies final : public gateway::Replies {
   public:
    void Keep(const RequestId& request, gateway::KeptReply reply) override {
      kept_[request] = std::move(reply);
    }
    Task<std::optional<gateway::KeptReply>> Find(RequestId request) override {
      const auto found = kept_.find(request);
      if (found == kept_.end()) co_return std::nullopt;
      co_return found->second;
    }
    void Lose() { kept_.clear(); }

   private:
    std::map<RequestId, gateway::KeptReply> kept_;
  };

  const Case& script_;
  std::size_t at_ = 0;
  config::Package wallet_;  // what every package has of wallets
  std::uint64_t grants_ = 0;
  config::Config config_;
  identity::KeyTable keys_;
  std::shared_ptr<const identity::Pepper> pepper_ =
      std::make_shared<const identity::Pepper>("a pepper for scenarios, 32 bytes");
  std::map<std::string, KeyId> ids_;
  std::vector<std::unique_ptr<gateway::Snapshot>> snapshots_;
  dialect::RequestReader reader_;
  ScriptedRuntime runtime_;
  ScriptedUpstreams upstreams_;
  ScriptedAccounts accounts_{runtime_};
  ScriptedCredit credit_{runtime_};
  ScriptedReceipts receipts_{*this};
  ScriptedApprovals approvals_;
  ScriptedReplies replies_;
  std::map<std::string, std::unique_ptr<Caller>> callers_;
};

// Cases are separated by their "# name:" lines.
std::vector<Case> LoadCases() {
  std::vector<Case> cases;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(WEIR_SOURCE_DIR) / "test/scenarios")) {
    if (entry.path().extension() == ".case") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::ifstream in(file);
    int number = 0;
    bool in_block = false;
    for (std::string line; std::getline(in, line);) {
      ++number;
      if (line.starts_with("# name: ")) {
        cases.push_back({file.filename().string(), line.substr(8), {}});
        continue;
      }
      if (!in_block && (line.empty() || line.front() == '#')) continue;
      if (line.starts_with("reply ") && line.find(" fail ") == std::string::npos) in_block = true;
      if (line == "end") in_block = false;
      cases.back().lines.emplace_back(number, line);
    }
  }
  return cases;
}

class ScenarioTest : public testing::Test {
 public:
  explicit ScenarioTest(const Case& script) : script_(script) {}
  void TestBody() override { Runner(script_).Run(); }

 private:
  const Case& script_;
};

}  // namespace

void RegisterScenarios() {
  static const std::vector<Case> cases = LoadCases();
  for (const auto& script : cases) {
    std::string name = script.name;
    for (char& c : name) {
      if (c == '/') c = '.';
    }
    testing::RegisterTest("Scenario", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [&script]() -> testing::Test* { return new ScenarioTest(script); });
  }
}

}  // namespace weir::scenario

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  weir::scenario::RegisterScenarios();
  return RUN_ALL_TESTS();
}

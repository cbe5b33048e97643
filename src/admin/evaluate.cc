// POST /admin/v1/policies/evaluate: what quota policies would say to one request that comes now, by
// the counters as they stand and the functions that decide about real ones. It holds nothing and
// sends nothing, so it answers for images, video and audio as for text.
//
// Policies alone: the key's budget, its wallet and its limits per minute are not asked.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/quota_json.h"
#include "config/attribute.h"
#include "config/policy_text.h"
#include "config/scalar.h"
#include "identity/key_record.h"
#include "policy/decision.h"
#include "policy/policy_set.h"
#include "policy/quota_unit.h"
#include "policy/quote.h"
#include "policy/usual_output.h"
#include "store/key_store.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using config::Dimension;

constexpr std::int64_t kCountMax = policy::kTokensMax;
constexpr int kMovesMax = 4;  // as on the path: a ring of policies must end
constexpr std::size_t kNameMax = 256;

// What the body asks about, with texts of its own.
struct Question {
  identity::KeyRecordPtr key;  // null: nobody's
  std::vector<config::Attribute> attributes;
  std::string workspace;
  std::string family;  // of a model that the configuration does not have
  std::string model_class;
  std::string provider;
  std::string model;
  std::string operation = "responses";
  std::string modality;
  std::string action;
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = -1;  // per choice; -1: as much as the model may
  std::int64_t choices = 1;
  std::int64_t images = 0;
  std::int64_t video_ms = 0;
  std::int64_t video_jobs = 0;
  std::int64_t video_rerenders = 0;
  std::int64_t audio_ms = 0;
  std::int64_t embeddings = 0;
  std::int64_t attempts = -1;  // -1: as many as the configuration allows
  std::optional<NanoUsd> usd;
};

// Seconds as a whole number, or as a text with at most three decimals.
void ReadSeconds(ObjectReader& reader, std::string_view name, std::int64_t& ms) {
  const json::value* const value = reader.Any(name);
  if (value == nullptr) return;
  constexpr std::int64_t kSecondsMax = kCountMax / 1000;
  const auto wrong = [&] {
    reader.Refuse(name, "must be seconds: a whole number, or a text such as \"12.5\"");
  };
  if (const auto* const number = value->if_int64()) {
    if (*number < 0 || *number > kSecondsMax) return wrong();
    ms = *number * 1000;
    return;
  }
  const auto* const text = value->if_string();
  if (text == nullptr) return wrong();
  const std::string_view digits = *text;
  const std::size_t point = std::min(digits.find('.'), digits.size());
  const auto whole = config::ParseCount(digits.substr(0, point));
  std::string decimals(digits.substr(std::min(point + 1, digits.size())));
  const bool plain =
      decimals.size() <= 3 && decimals.find_first_not_of("0123456789") == std::string::npos;
  if (!whole || *whole < 0 || *whole > kSecondsMax || !plain ||
      (point < digits.size() && decimals.empty())) {
    return wrong();
  }
  decimals.resize(3, '0');
  ms = *whole * 1000 + (decimals[0] - '0') * 100 + (decimals[1] - '0') * 10 + (decimals[2] - '0');
}

// A text that can be a value of a dimension; false when absent or wrong.
bool ReadValue(ObjectReader& reader, std::string_view name, std::size_t bytes_max,
               std::string& out) {
  const json::value* const value = reader.Any(name);
  if (value == nullptr) return false;
  const auto* const text = value->if_string();
  const bool printable = text != nullptr && !text->empty() && text->size() <= bytes_max &&
                         std::ranges::all_of(*text, [](char c) { return c >= 0x20 && c != 0x7F; });
  if (!printable) {
    reader.Refuse(name, fmt::format("must be a text of 1 to {} printable characters", bytes_max));
    return false;
  }
  out = std::string(std::string_view(*text));
  return true;
}

void ReadAttributes(ObjectReader& reader, Question& question) {
  auto attributes = reader.Object("attributes");
  if (!attributes) return;
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    const auto dimension = static_cast<Dimension>(i);
    if ((config::kAttributeBits & config::BitOf(dimension)) == 0) continue;
    std::string value;
    if (!ReadValue(*attributes, Name(dimension), config::kAttributeValueMax, value)) continue;
    if (const auto fault = config::AttributeFault(value); !fault.empty()) {
      attributes->Refuse(Name(dimension), std::string(fault));
      continue;
    }
    config::SetAttribute(question.attributes, dimension, value);
  }
  ReadValue(*attributes, "workspace", config::kAttributeValueMax, question.workspace);
  ReadValue(*attributes, "provider", config::kAttributeValueMax, question.provider);
  ReadValue(*attributes, "model_family", config::kAttributeValueMax, question.family);
  ReadValue(*attributes, "model_class", config::kAttributeValueMax, question.model_class);
  attributes->Finish();
}

Question ReadQuestion(const Call& call, ObjectReader& reader) {
  Question question;
  std::string key;
  if (ReadValue(reader, "key", kNameMax, key)) {
    if (const auto id = ParseKeyId(key)) question.key = call.ports.keys.table()->FindById(*id);
    if (question.key == nullptr) question.key = call.ports.keys.FindByName(key);
    if (question.key == nullptr) {
      reader.Refuse("key", "is neither the name nor the id of a key");
    } else {
      question.attributes = question.key->attributes;
      question.workspace = question.key->workspace;
    }
  }
  ReadAttributes(reader, question);
  ReadValue(reader, "model", kNameMax, question.model);
  ReadValue(reader, "operation", kNameMax, question.operation);
  reader.Choice("modality", config::kModalityNames, question.modality);
  std::string image_class;
  if (ReadValue(reader, "image_class", config::kAttributeValueMax, image_class)) {
    config::SetAttribute(question.attributes, Dimension::kImageClass, image_class);
  }
  ReadValue(reader, "action", kNameMax, question.action);
  for (const auto& [name, out] : {std::pair("input_tokens", &question.input_tokens),
                                  {"output_tokens", &question.output_tokens},
                                  {"images", &question.images},
                                  {"video_jobs", &question.video_jobs},
                                  {"video_rerenders", &question.video_rerenders},
                                  {"embeddings", &question.embeddings}}) {
    reader.Count(name, 0, kCountMax, *out);
  }
  reader.Count("choices", 1, 128, question.choices);
  reader.Count("attempts", 1, 1'000, question.attempts);
  ReadSeconds(reader, "video_seconds", question.video_ms);
  ReadSeconds(reader, "audio_seconds", question.audio_ms);
  reader.UsdOrNull("usd_override", question.usd);
  if (question.modality.empty()) {
    question.modality = "text";
    if (question.embeddings > 0) question.modality = "embeddings";
    if (question.audio_ms > 0) question.modality = "audio";
    if (question.images > 0) question.modality = "image";
    if (question.video_ms > 0 || question.video_jobs > 0) question.modality = "video";
  }
  if (question.video_ms > 0 && question.video_jobs == 0) question.video_jobs = 1;
  return question;
}

// The request at one of the models it may be sent to. Its facts are views into it: it stays where
// it is.
struct Course {
  std::string model;
  const config::Model* known = nullptr;  // null: the configuration does not have it
  config::Price price;
  std::vector<std::string_view> providers;
  policy::Facts facts;
  policy::Ask ask;
  std::vector<policy::QuotaUse> uses;
  std::vector<gateway::QuotaStanding> looked;
  std::vector<policy::Standing> standings;
  policy::Decision decision;
  std::vector<std::size_t> clampers;  // uses that shorten it
  bool judged = true;                 // false: it meets more policies than can be held
};

// The price of the request at a model, or none.
std::optional<config::Price> PriceAt(const Question& question, const config::Config& config,
                                     const config::Model* model, std::string_view asked,
                                     Instant now) {
  if (question.usd) {
    config::Price price;
    price.per_request = *question.usd;
    return price;
  }
  const config::PriceVersion* const version =
      model == nullptr ? nullptr : config.PriceOf(*model, asked, now);
  return version == nullptr ? std::nullopt : std::optional(version->price);
}

// Where the request stands at `model`; none when it cannot be served there.
std::unique_ptr<Course> Begin(const Call& call, const config::Config& config,
                              const policy::PolicySet& set, const Question& question,
                              std::string model) {
  auto made = std::make_unique<Course>();
  Course& course = *made;
  course.model = std::move(model);
  course.known = course.model.empty() ? nullptr : config.FindModel(course.model);
  auto price = PriceAt(question, config, course.known, course.model, call.now);
  if (!price) return nullptr;
  course.price = *std::move(price);
  policy::Facts& facts = course.facts;
  facts[Dimension::kEnvironment] = config.environment;
  for (const config::Attribute& attribute : question.attributes) {
    facts[attribute.dimension] = attribute.value;
  }
  if (question.key) facts[Dimension::kKey] = question.key->name;
  facts[Dimension::kWorkspace] = question.workspace;
  facts[Dimension::kModel] = course.model;
  facts[Dimension::kModelFamily] = question.family;
  facts[Dimension::kModelClass] = question.model_class;
  facts[Dimension::kEndpoint] = question.operation;
  facts[Dimension::kModality] = question.modality;
  facts.action = question.action;
  facts.action_scope =
      question.workspace.empty() ? facts[Dimension::kKey] : facts[Dimension::kWorkspace];
  std::int64_t output = question.output_tokens;
  std::int64_t input = question.input_tokens;
  if (const config::Model* const known = course.known; known != nullptr) {
    if (known->id != "*") facts[Dimension::kModel] = known->id;
    facts[Dimension::kModelFamily] = known->family;
    facts[Dimension::kModelClass] = known->model_class;
    for (const config::ModelRoute& route : known->routes) {
      const std::string& name = config.upstreams[route.upstream].name;
      if (std::ranges::find(course.providers, name) == course.providers.end()) {
        course.providers.push_back(name);
      }
    }
    const bool makes_text = question.modality == "text" || output >= 0;
    output = output < 0 ? (makes_text ? known->output_tokens_max : 0)
                        : std::min(output, known->output_tokens_max);
    input = std::min(input, known->input_tokens_max);
  }
  if (!question.provider.empty()) course.providers = {question.provider};
  output = std::max<std::int64_t>(output, 0);
  course.ask = {
      .demand = {.bounds = {.input = input,
                            .audio_ms = question.audio_ms,
                            .images = question.images,
                            .video_ms = question.video_ms},
                 .choices = question.choices,
                 .video_jobs = question.video_jobs,
                 .video_rerenders = question.video_rerenders,
                 .embeddings = question.embeddings,
                 .attempts = question.attempts < 0 ? config.fallback.attempts : question.attempts},
      .output = output,
      .output_useful = std::min(config.useful_output_tokens_min, output),
      .output_usual = policy::UsualOutput::kChunk};
  if (course.known != nullptr) course.ask.demand.multiplier_ppm = course.known->multiplier.ppm;
  if (question.key) {
    course.ask.output_usual =
        call.ports.quotas.usual_output(question.key->id, config::IdOf(course.price));
  }
  facts.providers = course.providers;
  course.judged = set.Match(facts, call.now, course.uses);
  return made;
}

// By the counters of now.
void Judge(const Call& call, const config::Config& config, Course& course) {
  course.ask.demand.price = &course.price;
  course.looked = call.ports.quotas.look(course.uses);
  course.standings.clear();
  for (const auto& looked : course.looked) course.standings.push_back(looked.standing);
  policy::DecisionScratch scratch;
  course.decision = policy::Decide(course.uses, course.standings, course.ask,
                                   config.fallback.spend_percent, scratch);
  course.clampers.clear();
  if (course.decision.clamped) {
    policy::WhoClamped(course.uses, course.standings, course.decision, course.ask.output,
                       course.clampers);
  }
}

struct Move {
  std::string policy;
  std::string from;
  std::string to;
};

// What one policy says, whatever the others do.
struct Said {
  std::string_view decision;
  Refusal refusal = Refusal::kNone;
  std::int64_t needed = 0;
};

Said SaidBy(const Course& course, std::size_t at) {
  const policy::QuotaUse& use = course.uses[at];
  const policy::Standing& standing = course.standings[at];
  const policy::Decision& decision = course.decision;
  const auto one = std::span(course.uses).subspan(at, 1);
  const auto its = std::span(course.standings).subspan(at, 1);
  policy::Verdict verdict = policy::JudgeFixed(one, its, decision.ask);
  if (verdict.refusal == Refusal::kNone) verdict = policy::JudgeOutput(one, its, decision.ask);
  if (verdict.refusal != Refusal::kNone) {
    const bool degrades = use.policy->action == config::PolicyAction::kDegrade;
    return {degrades ? "degrades" : "refuses", verdict.refusal, verdict.amount};
  }
  // Of a request that is refused by others: what it would take if they were not there.
  const std::int64_t output = decision.allowed() ? decision.output : decision.ask.output;
  const std::int64_t needed =
      policy::AmountOf(use, standing, decision.ask, output * course.ask.demand.choices,
                       decision.allowed() ? decision.hold : NanoUsd{-1}, decision.recovery);
  const bool would_refuse = policy::WouldRefuse(use, standing, decision.ask);
  if (use.policy->shadow)
    return {would_refuse ? "shadow_refuses" : "allows", Refusal::kNone, needed};
  if (standing.rule == ledger::QuotaRule::kNone) {
    return {would_refuse ? "alerts" : "allows", Refusal::kNone, needed};
  }
  const bool clamps = std::ranges::find(course.clampers, at) != course.clampers.end();
  return {clamps ? "clamps" : "allows", Refusal::kNone, needed};
}

void WriteRefusal(std::string_view name, Refusal refusal, JsonWriter& out) {
  if (refusal == Refusal::kNone) {
    out.Null(name);
    return;
  }
  const RefusalText& text = TextOf(refusal);
  out.Open(name, '{')
      .Number("status", text.status)
      .Text("type", text.type)
      .TextOrNull("code", text.code)
      .Text("message", text.message)
      .Close('}');
}

void WritePolicy(const Call& call, const Course& course, std::size_t at, JsonWriter& out) {
  const policy::QuotaUse& use = course.uses[at];
  const config::Policy& policy = *use.policy;
  const policy::Standing& standing = course.standings[at];
  const Said said = SaidBy(course, at);
  const bool refuses = said.refusal != Refusal::kNone;
  out.Open('{')
      .Text("id", policy.id)
      .TextOrNull("owner", policy.owner)
      .Text("decision", said.decision)
      .Text("counter", policy::CounterText(use, course.facts))
      .Text("unit", config::Name(policy.unit))
      .Text("window", config::Name(policy.window.kind));
  WriteSpan(standing.window, out);
  WriteSteps("limit", policy.unit, standing.limit, out);
  WriteSteps("settled", policy.unit, standing.settled, out);
  WriteSteps("held", policy.unit, standing.held, out);
  WriteSteps("needed", policy.unit, said.needed, out);
  WriteSteps("remaining_after", policy.unit,
             refuses ? standing.Available() : standing.Available() - said.needed, out);
  Instant resets_at{INT64_MAX};
  if (!use.counter.empty()) {
    resets_at =
        refuses ? call.ports.quotas.available_at(standing, said.needed) : course.looked[at].more_at;
  }
  out.Time("resets_at", WhenThere(resets_at));
  WriteRefusal("refusal", said.refusal, out);
  out.Close('}');
}

AdminResponse Answer(const Call& call, const Course& course, std::span<const Move> moves) {
  const policy::Decision& decision = course.decision;
  const bool allowed = course.judged && decision.allowed();
  std::string_view said = "refused";
  if (allowed) said = decision.clamped ? "clamped" : "allowed";
  if (allowed && !moves.empty()) said = "degraded";
  JsonWriter out;
  out.Open('{').Text("decision", said).TextOrNull("model", course.model).Open("moves", '[');
  for (const Move& move : moves) {
    out.Open('{')
        .Text("policy", move.policy)
        .Text("from", move.from)
        .Text("to", move.to)
        .Close('}');
  }
  out.Close(']');
  const Refusal refusal = course.judged ? decision.verdict.refusal : Refusal::kInternal;
  WriteRefusal("refusal", refusal, out);
  out.TextOrNull("policy", allowed || !course.judged ? std::string()
                                                     : course.uses[decision.verdict.use].policy->id)
      .Number("output_tokens_granted", allowed ? decision.output : 0)
      .Usd("hold_usd", allowed ? std::optional(decision.hold) : std::nullopt)
      .Open("policies", '[');
  for (std::size_t i = 0; course.judged && i < course.uses.size(); ++i) {
    WritePolicy(call, course, i, out);
  }
  out.Close(']').Close('}');
  return JsonResponse(out.Take());
}

}  // namespace

AdminResponse EvaluatePolicies(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  const Question question = ReadQuestion(call, reader);
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  const auto config = call.ports.config();
  const auto set = call.ports.quotas.set();
  auto course = Begin(call, *config, *set, question, question.model);
  if (!course) {
    reader.Refuse("model", question.model.empty() ? "is missing; without a model give usd_override"
                                                  : "has no price here; give usd_override");
    return InvalidBody(errors);
  }
  std::vector<Move> moves;
  while (course->judged) {
    Judge(call, *config, *course);
    if (course->decision.allowed() || moves.size() == kMovesMax) break;
    const config::Policy& policy = *course->uses[course->decision.verdict.use].policy;
    if (policy.action != config::PolicyAction::kDegrade || policy.degrade_to == course->model) {
      break;
    }
    auto lesser = Begin(call, *config, *set, question, policy.degrade_to);
    if (!lesser || lesser->known == nullptr) break;
    moves.push_back({policy.id, course->model, policy.degrade_to});
    course = std::move(lesser);
  }
  return Answer(call, *course, moves);
}

}  // namespace weir::admin

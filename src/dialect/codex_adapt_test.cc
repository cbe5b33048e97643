// The table of rules against the page it comes from: each row has a case that trips it and one that
// just does not, per profile. Every case is also adapted twice, which must change nothing.
#include "dialect/codex_adapt.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "dialect/json_view.h"

namespace weir::dialect {
namespace {

using enum AdaptProfile;
using enum AdaptEndpoint;

// What makes a body fit the strict profile already: no case has to repeat the forced members.
constexpr std::string_view kFit = R"("store":false,"stream":true,"instructions":"i")";

std::string Fit(std::string_view members) { return fmt::format("{{{},{}}}", kFit, members); }

std::string Shown(const std::expected<AdaptedBody, ShapeError>& adapted) {
  if (!adapted) return fmt::format("{}: {}", adapted.error().param, adapted.error().message);
  return fmt::format("{} [{}]", adapted->text, fmt::join(adapted->changes, " "));
}

std::string Adapt(std::string_view body, AdaptProfile profile = kResponsesStrict,
                  AdaptEndpoint endpoint = kResponses) {
  auto adapted = AdaptForCodex(body, profile, endpoint);
  if (adapted) {
    EXPECT_TRUE(CheckJson(adapted->text)) << adapted->text;
    const auto again = AdaptForCodex(adapted->text, profile, endpoint);
    EXPECT_TRUE(again && again->text == adapted->text && again->changes.empty())
        << Shown(adapted) << "\nagain: " << Shown(again);
  }
  return Shown(adapted);
}

TEST(AdaptRules, DroppedMembers_AreThoseOfThePage) {
  for (const std::string_view member :
       {"temperature", "top_p", "max_output_tokens", "prompt_cache_retention", "user",
        "text_formatting", "truncation", "safety_identifier", "max_completion_tokens",
        "frequency_penalty", "presence_penalty"}) {
    const std::string body = Fit(fmt::format(R"("{}":1,"model":"m")", member));
    EXPECT_EQ(Adapt(body), fmt::format("{} [drop:{}]", Fit(R"("model":"m")"), member));
    EXPECT_EQ(Adapt(body, kOpenAiApi), body + " []");
  }
  for (const std::string_view member :
       {"text", "service_tier", "metadata", "include", "reasoning", "prompt_cache_key",
        "parallel_tool_calls", "client_metadata", "previous_response_id", "unheard_of"}) {
    const std::string body = Fit(fmt::format(R"("{}":{{"a": 1}})", member));
    EXPECT_EQ(Adapt(body), body + " []");
  }
}

struct Case {
  std::string_view why, body, strict, api;
};

// `strict` and `api` are the adapted text and the changes; empty: the body as it is, no changes.
void RunCases(std::span<const Case> table) {
  for (const Case& c : table) {
    SCOPED_TRACE(c.why);
    const std::string same = std::string(c.body) + " []";
    EXPECT_EQ(Adapt(c.body), c.strict.empty() ? same : c.strict);
    EXPECT_EQ(Adapt(c.body, kOpenAiApi), c.api.empty() ? same : c.api);
  }
}

TEST(AdaptForCodex, ForcedMembers) {
  const Case table[] = {
      {"absent members are added last", R"({"model":"m","instructions":"i"})",
       R"({"model":"m","instructions":"i","store":false,"stream":true} [force:store=false force:stream=true])",
       ""},
      {"what the caller said is overruled where it stands",
       R"({"store":true,"model":"m","stream":false,"instructions":"i"})",
       R"({"store":false,"model":"m","stream":true,"instructions":"i"} [force:store=false force:stream=true])",
       ""},
      {"null and texts count as another value",
       R"({"store":null,"stream":"true","instructions":"i"})",
       R"({"store":false,"stream":true,"instructions":"i"} [force:store=false force:stream=true])",
       ""},
      {"an escaped name is the same member",
       R"({"st\u006fre":true,"stream":true,"instructions":"i"})",
       R"({"st\u006fre":false,"stream":true,"instructions":"i"} [force:store=false])", ""},
  };
  RunCases(table);
}

TEST(AdaptForCodex, Compact_LosesStoreAndStreamAlone) {
  const std::string_view body =
      R"({"store":false,"temperature":1,"model":"a/m-high","stream":true,"input":"x"})";
  for (const AdaptProfile profile : {kOpenAiApi, kResponsesStrict}) {
    EXPECT_EQ(Adapt(body, profile, kResponsesCompact),
              R"({"temperature":1,"model":"a/m-high","input":"x"} [drop:store drop:stream])");
    EXPECT_EQ(Adapt(R"({ "model":"m" })", profile, kResponsesCompact), R"({ "model":"m" } [])");
  }
}

TEST(AdaptForCodex, Model) {
  const auto model = [](std::string_view before, AdaptProfile profile = kResponsesStrict) {
    return Adapt(Fit(fmt::format(R"("model":{})", before)), profile);
  };
  const auto name = [](std::string_view after) {
    return Fit(fmt::format(R"("model":{})", after)) + " [rewrite:model=plain_name]";
  };
  const auto effort = [](std::string_view after, std::string_view word) {
    return Fit(fmt::format(R"("model":{},"reasoning":{{"effort":"{}"}})", after, word));
  };
  for (const AdaptProfile profile : {kResponsesStrict, kOpenAiApi}) {
    EXPECT_EQ(model(R"("gpt-5.4")", profile), Fit(R"("model":"gpt-5.4")") + " []");
    EXPECT_EQ(model(R"(" gpt-5.4\n")", profile), name(R"("gpt-5.4")"));
    EXPECT_EQ(model(R"("openai/gpt-5.4")", profile), name(R"("gpt-5.4")"));
    EXPECT_EQ(model(R"("a/b/ gpt-5.4")", profile), name(R"("gpt-5.4")"));
    EXPECT_EQ(model(R"("openai\/gpt-5.4")", profile), name(R"("gpt-5.4")"));
    for (const std::string_view word : {"none", "low", "medium", "high", "xhigh"}) {
      EXPECT_EQ(model(fmt::format(R"("gpt-5.4-{}")", word), profile),
                effort(R"("gpt-5.4")", word) + " [rewrite:model=effort_suffix]");
    }
    EXPECT_EQ(
        model(R"("x/gpt-5-high-low")", profile),
        effort(R"("gpt-5")", "low") + " [rewrite:model=plain_name rewrite:model=effort_suffix]");
  }
  // Names that only look like it.
  for (const std::string_view same :
       {R"("gpt-5-highest")", R"("high")", R"("-high")", R"("openai/")", R"("")", R"(" ")",
        R"("gpt-5-minimal")", R"("gpt-5-codex-max")"}) {
    EXPECT_EQ(model(same), Fit(fmt::format(R"("model":{})", same)) + " []");
  }
  EXPECT_TRUE(model("7").starts_with("model: Invalid value for 'model'"));
}

TEST(AdaptForCodex, EffortThatTheCallerSet_Stays) {
  const auto with = [](std::string_view reasoning) {
    return Adapt(Fit(fmt::format(R"("model":"m-high","reasoning":{})", reasoning)));
  };
  const auto to = [](std::string_view reasoning) {
    return Fit(fmt::format(R"("model":"m","reasoning":{})", reasoning)) +
           " [rewrite:model=effort_suffix]";
  };
  EXPECT_EQ(with(R"({ "effort": "low" })"), to(R"({ "effort": "low" })"));
  EXPECT_EQ(with(R"({"effort":null,"summary": "auto"})"),
            to(R"({"summary": "auto","effort":"high"})"));
  EXPECT_EQ(with(R"({})"), to(R"({"effort":"high"})"));
  EXPECT_EQ(with("null"), to(R"({"effort":"high"})"));
  EXPECT_TRUE(with("\"low\"").starts_with("reasoning: "));
  EXPECT_TRUE(with(R"({"effort":"low","eff\u006frt":"high"})").starts_with("reasoning: "));
}

TEST(AdaptForCodex, Tools) {
  // The forms of chat completions, which S2A rewrites; strict and openai_api do the same.
  struct ToolCase {
    std::string_view why, before, after, changes;
  };
  const ToolCase table[] = {
      {"Responses' own form", R"("tools":[{"type":"function","name":"f"},{"type":"web_search"}])",
       R"("tools":[{"type":"function","name":"f"},{"type":"web_search"}])", ""},
      {"chat's form",
       R"("tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{ "a":1 },"strict":true,"x":1}}])",
       R"("tools":[{"type":"function","name":"f","description":"d","parameters":{ "a":1 },"strict":true}])",
       "rewrite:tools=flat"},
      {"the outer members win",
       R"("tools":[{"type":"function","name":"o","strict":null,"k":1,"function":{"name":"f","strict":true}}])",
       R"("tools":[{"type":"function","name":"o","k":1,"strict":true}])", "rewrite:tools=flat"},
      {"a blank outer name does not",
       R"("tools":[{"type":"function","name":" ","function":{"name":"f"}}])",
       R"("tools":[{"type":"function","name":"f"}])", "rewrite:tools=flat"},
      {"no name, no tool",
       R"("tools":[ {"type":"custom"} ,{"type":"function"},{"type":"function","function":{}},{"type":"function","name":"f"}])",
       R"("tools":[{"type":"custom"},{"type":"function","name":"f"}])",
       "rewrite:tools=flat drop:tools=nameless"},
      {"the last one goes too", R"("tools":[{"type":"function","name":7}])", R"("tools":[])",
       "drop:tools=nameless"},
      {"what is no object is the upstream's to judge", R"("tools":[1,"x",null])",
       R"("tools":[1,"x",null])", ""},
      {"functions", R"("functions":[{"name":"f","parameters":{"a": 1}}])",
       R"("tools":[{"name":"f","parameters":{"a": 1},"type":"function"}])",
       "rewrite:functions=tools"},
      {"functions behind tools", R"("functions":[{"name":"f"}],"tools":[{"type":"web_search"}])",
       R"("tools":[{"type":"web_search"},{"name":"f","type":"function"}])",
       "rewrite:functions=tools"},
      {"no functions", R"("functions":null,"a":1)", R"("a":1)", "rewrite:functions=tools"},
      {"function_call as a word", R"("function_call":"auto")", R"("tool_choice":"auto")",
       "rewrite:function_call=tool_choice"},
      {"function_call by name", R"("function_call":{"name":"f"})",
       R"("tool_choice":{"type":"function","name":"f"})", "rewrite:function_call=tool_choice"},
      {"the newer word wins", R"("tool_choice":"none","function_call":"auto")",
       R"("tool_choice":"none")", "rewrite:function_call=tool_choice"},
      {"tool_choice of chat", R"("tool_choice":{"type":"function","function":{"name":"f"}})",
       R"("tool_choice":{"type":"function","name":"f"})", "rewrite:tool_choice=flat"},
      {"tool_choice of Responses", R"("tool_choice":{"type":"allowed_tools","tools":[]})",
       R"("tool_choice":{"type":"allowed_tools","tools":[]})", ""},
  };
  for (const auto& c : table) {
    SCOPED_TRACE(c.why);
    const std::string expected = fmt::format("{} [{}]", Fit(c.after), c.changes);
    EXPECT_EQ(Adapt(Fit(c.before)), expected);
    EXPECT_EQ(Adapt(Fit(c.before), kOpenAiApi), expected);
  }
  EXPECT_TRUE(Adapt(R"({"functions":{}})").starts_with("functions: "));
  EXPECT_TRUE(Adapt(R"({"functions":[1]})").starts_with("functions: "));
  EXPECT_TRUE(Adapt(R"({"functions":[],"tools":"x"})").starts_with("tools: "));
  EXPECT_TRUE(Adapt(R"({"function_call":1})").starts_with("function_call: "));
  EXPECT_TRUE(
      Adapt(R"({"tools":[{"type":"function","name":"a","name":"b"}]})").starts_with("tools: "));
}

TEST(AdaptForCodex, Input) {
  struct InputCase {
    std::string_view why, before, after, changes;
  };
  const InputCase table[] = {
      {"a text", R"("input":"h\u00fc \"x\"")",
       R"("input":[{"type":"message","role":"user","content":"h\u00fc \"x\""}])",
       "rewrite:input=message_list"},
      {"a blank text", R"("input":" \n\t")", R"("input":[])", "rewrite:input=message_list"},
      {"a list", R"("input":[ {"role":"user","content":"x"} ])",
       R"("input":[ {"role":"user","content":"x"} ])", ""},
      {"an unknown item stays whole", R"("input":[{"type":"compaction_trigger"},7])",
       R"("input":[{"type":"compaction_trigger"},7])", ""},
      {"ids mean nothing with store:false",
       R"("input":[{"type":"message","id":"msg_1","role":"user","content": "x"},{"role":"user","content":"y"}])",
       R"("input":[{"type":"message","role":"user","content": "x"},{"role":"user","content":"y"}])",
       "drop:input=item_ids"},
      {"references mean nothing either",
       R"("input":[{"type":"item_reference","id":"rs_1"},{"id":"msg_2"},{"role":"user","content":"x"}])",
       R"("input":[{"role":"user","content":"x"}])", "drop:input=item_references"},
      {"a result continues a turn",
       R"("input":[{"type":"item_reference","id":"rs_1"},{"type":"function_call","id":"fc_1","call_id":"call_1"},{"type":"function_call_output","call_id":"call_1","output":""}])",
       "", ""},
      {"so does a custom tool's",
       R"("input":[{"type":"message","id":"msg_1"},{"type":"custom_tool_call_output","call_id":"c"}])",
       "", ""},
      {"so does an earlier reply",
       R"("previous_response_id":"resp_1","input":[{"type":"message","id":"m"}])", "", ""},
      {"an empty one does not",
       R"("previous_response_id":"","input":[{"type":"message","id":"m"}])",
       R"("previous_response_id":"","input":[{"type":"message"}])", "drop:input=item_ids"},
      {"reasoning without its content is looked up, and never found",
       R"("input":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"reasoning","id":"rs_2","encrypted_content":"g"},{"type":"function_call_output","call_id":"c"}])",
       R"("input":[{"type":"reasoning","summary":[]},{"type":"reasoning","id":"rs_2","encrypted_content":"g"},{"type":"function_call_output","call_id":"c"}])",
       "drop:input=item_ids"},
      {"a call without call_id gets its id",
       R"("input":[{"type":"function_call","id":"fc_1","call_id":null,"name":"f"},{"type":"function_call_output","id":"fc_1","output":"x"}])",
       R"("input":[{"type":"function_call","id":"fc_1","name":"f","call_id":"fc_1"},{"type":"function_call_output","id":"fc_1","output":"x","call_id":"fc_1"}])",
       "rewrite:input=call_ids"},
      {"a call alone, then its id goes", R"("input":[{"type":"local_shell_call","id":"l"}])",
       R"("input":[{"type":"local_shell_call","call_id":"l"}])",
       "rewrite:input=call_ids drop:input=item_ids"},
      {"the vendor's own calls have no call_id",
       R"("input":[{"type":"web_search_call","id":"ws"},{"type":"function_call_output","call_id":"c"}])",
       "", ""},
  };
  for (const auto& c : table) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(Adapt(Fit(c.before)),
              fmt::format("{} [{}]", Fit(c.after.empty() ? c.before : c.after), c.changes));
  }
  // The vendor's own calls have no call_id; every other call has one.
  for (const std::string_view type :
       {"web_search_call", "file_search_call", "mcp_call", "code_interpreter_call",
        "image_generation_call", "message"}) {
    const std::string body = fmt::format(R"({{"input":[{{"type":"{}","id":"i"}}]}})", type);
    EXPECT_EQ(Adapt(body, kOpenAiApi), body + " []");
  }
  for (const std::string_view type :
       {"function_call", "tool_call", "local_shell_call", "tool_search_call", "custom_tool_call",
        "mcp_tool_call", "function_call_output", "mcp_tool_call_output", "custom_tool_call_output",
        "tool_search_output"}) {  // S2A's list
    EXPECT_EQ(Adapt(fmt::format(R"({{"input":[{{"type":"{}","id":"i"}}]}})", type), kOpenAiApi),
              fmt::format(R"({{"input":[{{"type":"{}","id":"i","call_id":"i"}}]}} )"
                          "[rewrite:input=call_ids]",
                          type));
  }
  // openai_api keeps all of it but puts call ids right.
  EXPECT_EQ(Adapt(R"({"input":"x"})", kOpenAiApi), R"({"input":"x"} [])");
  EXPECT_EQ(
      Adapt(R"({"input":[{"type":"item_reference","id":"r"},{"type":"function_call","id":"f"}]})",
            kOpenAiApi),
      R"({"input":[{"type":"item_reference","id":"r"},{"type":"function_call","id":"f","call_id":"f"}]} [rewrite:input=call_ids])");
  EXPECT_TRUE(Adapt(R"({"input":[{"type":"a","type":"b"}]})").starts_with("input: "));
}

TEST(AdaptForCodex, Instructions) {
  constexpr std::string_view kHead = R"({"store":false,"stream":true,)";
  const auto run = [&](std::string_view members) {
    return Adapt(fmt::format("{}{}}}", kHead, members));
  };
  const auto to = [&](std::string_view members, std::string_view changes) {
    return fmt::format("{}{}}} [{}]", kHead, members, changes);
  };
  constexpr std::string_view kDefault = R"("instructions":"You are a helpful coding assistant.")";
  EXPECT_EQ(run(R"("a":1)"), to(fmt::format(R"("a":1,{})", kDefault), "default:instructions"));
  for (const std::string_view blank : {"null", R"("")", R"(" \n ")"}) {
    EXPECT_EQ(run(fmt::format(R"("instructions":{})", blank)),
              to(kDefault, "default:instructions"));
  }
  EXPECT_EQ(run(R"("instructions":"x")"), to(R"("instructions":"x")", ""));
  EXPECT_TRUE(run(R"("instructions":[])").starts_with("instructions: "));
  EXPECT_EQ(
      run(R"("input":[{"role":"system","content":"a\n"},{"role":"user","content":"u"},{"type":"message","role":"system","content":[{"type":"input_text","text":"b"},{"type":"text","text":"c"}]}])"),
      to(R"("input":[{"role":"user","content":"u"}],"instructions":"a\n\n\nbc")",
         "rewrite:input=system_to_instructions"));
  EXPECT_EQ(
      run(R"("instructions":"old","input":[{"role":"system","content":"new"}])"),
      to(R"("instructions":"new\n\nold","input":[])", "rewrite:input=system_to_instructions"));
  // Nothing is lost: what instructions cannot hold becomes a developer's message.
  EXPECT_EQ(
      run(R"("instructions":"i","input":[{"role":"system","content":[{"type":"input_image","image_url":"u"}]}])"),
      to(R"("instructions":"i","input":[{"content":[{"type":"input_image","image_url":"u"}],"role":"developer"}])",
         "rewrite:input=system_to_instructions"));
  EXPECT_EQ(run(R"("input":[{"role":"system","content":" "}])"),
            to(fmt::format(R"("input":[],{})", kDefault),
               "rewrite:input=system_to_instructions default:instructions"));
  // Other roles, and items that only look like messages.
  const std::string same =
      R"("instructions":"i","input":[{"role":"developer","content":"d"},{"type":"x","role":"system","content":"d"}])";
  EXPECT_EQ(run(same), to(same, ""));
  EXPECT_EQ(Adapt(R"({"input":[{"role":"system","content":"d"}]})", kOpenAiApi),
            R"({"input":[{"role":"system","content":"d"}]} [])");
}

TEST(AdaptForCodex, BodiesThatAreNotOne_AreRefused) {
  const auto refusal = [](std::string_view body) {
    const auto adapted = AdaptForCodex(body, kResponsesStrict, kResponses);
    return adapted ? Refusal::kNone : adapted.error().refusal;
  };
  const std::string whole = Fit(R"("model":"a/b-high","input":[{"role":"system","content":"x"}])");
  EXPECT_EQ(refusal(whole), Refusal::kNone);
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    EXPECT_EQ(refusal(whole.substr(0, cut)), Refusal::kInvalidJson) << cut;
  }
  EXPECT_EQ(refusal("[]"), Refusal::kInvalidJson);
  EXPECT_EQ(refusal("{\"a\":\"\xFF\"}"), Refusal::kInvalidJson);
  EXPECT_EQ(refusal(fmt::format("{{\"input\":{}1{}}}", std::string(64, '['), std::string(64, ']'))),
            Refusal::kInvalidJson);
  EXPECT_EQ(refusal("{\"input\":" + std::string(1 << 20, '[')), Refusal::kInvalidJson);
  EXPECT_EQ(refusal(R"({"unknown":1,"unkn\u006fwn":2})"), Refusal::kInvalidRequest);
  std::string many = "{\"a\":1";
  for (std::size_t i = 1; i <= kAdaptMembersMax; ++i) many += fmt::format(",\"m{}\":1", i);
  EXPECT_EQ(refusal(many + "}"), Refusal::kInvalidRequest);
  EXPECT_EQ(refusal(R"({"temperature":1e99999,"n":123456789012345678901234567890})"),
            Refusal::kNone);
}

TEST(AdaptForCodex, MembersNoRuleTouches_KeepTheirBytes) {
  // Odd spacing, escapes, numbers and orders that writing again would change.
  const std::string_view kept[] = {R"("text" : { "format":{"type" :"json_schema"} })",
                                   R"("metadata":{"z":1.0,"a":1e0,"\u0061":-0})",
                                   "\"include\"\t:[ \"reasoning.encrypted_content\" ]",
                                   R"("prompt_cache_key":"\ud83d\ude00\/")",
                                   R"("service_tier":   "flex")",
                                   R"("x\"y":[[],{},[{}]])"};
  const std::string_view touched[] = {R"("temperature":0.5)", R"("input":"x")",
                                      R"("user":"u")",        R"("model":"a/b-low")",
                                      R"("store":true)",      R"("tools":[{"type":"function"}])"};
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string_view> members(std::begin(kept), std::end(kept));
    members.insert(members.end(), std::begin(touched), std::end(touched));
    for (std::size_t i = members.size() - 1; i > 0; --i)
      std::swap(members[i], members[random() % (i + 1)]);
    const auto adapted = AdaptForCodex(fmt::format("{{ {} }}", fmt::join(members, " ,\n ")),
                                       kResponsesStrict, kResponses);
    ASSERT_TRUE(adapted);
    std::size_t at = 0;
    for (const std::string_view member : members) {
      if (std::ranges::find(kept, member) == std::end(kept)) continue;
      at = adapted->text.find(member, at);  // in the order of the caller
      ASSERT_NE(at, std::string::npos) << member << "\n" << adapted->text;
    }
  }
}

TEST(AdaptForCodex, ALargeBody_IsAdaptedInOneGo) {
  // Far below a second each, or the work is not linear; the sanitizers are on here.
  std::string items;
  while (items.size() < (4 << 20)) {
    items +=
        R"({"type":"message","id":"m","role":"system","content":[{"type":"input_text","text":"x"}]},)";
  }
  items.pop_back();
  const auto adapted = AdaptForCodex(fmt::format(R"({{"model":"m","input":[{}]}})", items),
                                     kResponsesStrict, kResponses);
  ASSERT_TRUE(adapted);
  EXPECT_TRUE(adapted->text.starts_with(R"({"model":"m","input":[],"store":false)"));
}

PayloadRule Rule(std::string_view path, std::string_view value) {
  auto rule = ParsePayloadRule(path, value);
  EXPECT_TRUE(rule) << path;
  return rule ? *rule : PayloadRule{};
}

TEST(PayloadRules, Cases) {
  struct RuleCase {
    std::string_view path, value, before, after;
  };
  // Shapes as in CRS requestBodyRuleService: "a.b.0". What CRS replaces without a word (an object
  // on the way that is a text, a hole in an array) is refused here.
  const RuleCase table[] = {
      {"a", "1", R"({"x":2})", R"({"x":2,"a":1} [rule:a])"},
      {"a", "1", R"({"a": 2 ,"x":2})", R"({"a":1,"x":2} [rule:a])"},
      {"a", "1", R"({"a": 1 })", R"({"a": 1 } [])"},
      {"a.b.c", R"("v")", R"({})", R"({"a":{"b":{"c":"v"}}} [rule:a.b.c])"},
      {"a.b", "[1]", R"({"a":{ "x":1 , "b" : null }})",
       R"({"a":{ "x":1 , "b" : [1] }} [rule:a.b])"},
      {"a.b", "1", R"({"a":null})", R"({"a":{"b":1}} [rule:a.b])"},
      {"a.0", "9", R"({"a":[ 1 , 2 ]})", R"({"a":[ 9 , 2 ]} [rule:a.0])"},
      {"a.2", "9", R"({"a":[ 1 , 2 ]})", R"({"a":[ 1 , 2 ,9]} [rule:a.2])"},
      {"a.0", "9", R"({"a":[ ]})", R"({"a":[ 9]} [rule:a.0])"},
      {"a.0.b", "9", R"({})", R"({"a":[{"b":9}]} [rule:a.0.b])"},
      {"a.0", "9", R"({"a":{}})", R"({"a":{"0":9}} [rule:a.0])"},
      {"a.3", "9", R"({"a":[1,2]})", "a.3: Invalid value for 'a.3': "},
      {"a.1", "9", R"({})", "a.1: Invalid value for 'a.1': "},
      {"a.b", "9", R"({"a":"text"})", "a.b: Invalid value for 'a.b': "},
      {"a.b", "9", R"({"a":[1]})", "a.b: Invalid value for 'a.b': "},
      {"a.b", "9", R"({"a":{"b":1,"b":2}})", "a.b: Invalid value for 'a.b': "},
  };
  for (const auto& c : table) {
    SCOPED_TRACE(fmt::format("{} {}", c.path, c.before));
    const PayloadRule rules[] = {Rule(c.path, c.value)};
    const auto adapted = AdaptForCodex(c.before, kOpenAiApi, kResponses, rules);
    EXPECT_TRUE(Shown(adapted).starts_with(c.after)) << Shown(adapted);
    if (!adapted) continue;
    const auto again = AdaptForCodex(adapted->text, kOpenAiApi, kResponses, rules);
    EXPECT_EQ(Shown(again), c.path == "a.2" ? R"({"a":[ 1 , 2 ,9]} [])" : adapted->text + " []");
    EXPECT_EQ(Shown(AdaptForCodex(c.before, kOpenAiApi, kResponsesCompact, rules)),
              std::string(c.before) + " []");
  }
}

TEST(PayloadRules, ComeLastAndInOrder) {
  const PayloadRule rules[] = {Rule("temperature", "0"), Rule("input.0.content", "\"a\""),
                               Rule("input.0.content", "\"b\"")};
  const auto adapted =
      AdaptForCodex(Fit(R"("temperature":1,"input":"x")"), kResponsesStrict, kResponses, rules);
  EXPECT_EQ(Shown(adapted),
            Fit(R"("input":[{"type":"message","role":"user","content":"b"}],"temperature":0)") +
                " [drop:temperature rewrite:input=message_list rule:temperature "
                "rule:input.0.content rule:input.0.content]");
}

TEST(IsCodexClient, ByUserAgent) {
  EXPECT_TRUE(IsCodexClient("codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm"));
  EXPECT_TRUE(IsCodexClient("codex_cli_rs/0.38.0"));
  EXPECT_TRUE(IsCodexClient("codex_vscode/1.0"));
  for (const std::string_view other : {"", "codex", "codex_exec", "Mozilla codex_exec/1",
                                       "Codex_exec/1", "codex_exec2/1", "OpenAI/Python 3.0"}) {
    EXPECT_FALSE(IsCodexClient(other)) << other;
  }
}

TEST(AdaptRules, NoRowWritesAVendorsPrompt) {
  for (const auto& rule : AdaptRules()) {
    EXPECT_FALSE(rule.member.empty());
    EXPECT_LT(rule.value.size(), 60U);
    if (rule.action == AdaptAction::kForce || rule.action == AdaptAction::kDefault) {
      EXPECT_TRUE(CheckJson(rule.value)) << rule.value;
    }
  }
}

}  // namespace
}  // namespace weir::dialect

#include "admin/public_docs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/error_list.h"
#include "telemetry/metrics.h"

namespace weir::admin {

namespace {

// A host that may stand in a link. What a caller writes into Host comes back in a document, so only
// what a name, an address and a port consist of is taken.
bool LooksLikeHost(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == ':' || c == '[' || c == ']';
  });
}

std::string BaseUrl(const config::Config& config, std::string_view host) {
  // Whether a proxy in front speaks TLS cannot be seen here; a name with a dot that is not an
  // address is nearly always served by one.
  if (LooksLikeHost(host)) {
    const std::string_view name = host.substr(0, host.find(':'));
    const bool address =
        host.front() == '[' || name.find_first_not_of("0123456789.") == std::string_view::npos;
    const bool plain = address || name.find('.') == std::string_view::npos;
    return fmt::format("{}://{}", plain ? "http" : "https", host);
  }
  return fmt::format("http://{}:{}", config.listen.host, config.listen.port);
}

// The environment variable callers are told to keep their key in: "QUOTAFLOW_API_KEY".
std::string KeyVariable(std::string_view brand) {
  std::string out;
  for (const char c : brand) {
    if (c >= 'a' && c <= 'z') {
      out += static_cast<char>(c - 'a' + 'A');
    } else if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9' && !out.empty())) {
      out += c;
    } else if (!out.empty() && out.back() != '_') {
      out += '_';
    }
  }
  while (out.ends_with('_')) out.pop_back();
  return (out.empty() ? "WEIR" : out) + "_API_KEY";
}

// Text that cannot end a Markdown paragraph, a table cell or a code span.
std::string Plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '`' || static_cast<unsigned char>(c) < 0x20) continue;
    out += c;
  }
  return out;
}

const config::Model* FirstModel(const config::Config& config) {
  for (const config::Model& model : config.models) {
    if (model.id != "*" && (model.capabilities & config::kCapResponses) != 0) return &model;
  }
  return nullptr;
}

void AppendErrors(std::string& out) {
  out += "| status | type | code | message | retry |\n| --- | --- | --- | --- | --- |\n";
  for (const RefusalText& text : kRefusalTexts) {
    if (text.refusal == Refusal::kNone) continue;
    const bool later = text.status == 429 || text.status == 503;
    const bool maybe = text.status == 408 || text.status >= 500;
    fmt::format_to(
        std::back_inserter(out), "| {} | `{}` | {} | {} | {} |\n", text.status, text.type,
        text.code.empty() ? std::string("none") : fmt::format("`{}`", text.code), text.message,
        later   ? "after Retry-After"
        : maybe ? "with back-off"
                : "no");
  }
}

}  // namespace

std::string LlmsText(const config::Config& config, std::string_view base_url) {
  const std::string brand = Plain(config.brand.name);
  const std::string key = KeyVariable(brand);
  std::string out = fmt::format(
      R"(# {brand}

> An OpenAI-compatible API gateway: one endpoint and one API key in front of AI providers, with
> limits, budgets and exact usage for each key.

- Base URL: `{base}/v1` (also `{base}/openai/v1`)
- Auth header: `Authorization: Bearer ${key}`; keys begin with `{prefix}`
- Preferred endpoint: `POST /responses`; `POST /chat/completions` works too
- Model discovery: `GET /models` lists what the key may use; do not guess names
- Errors have OpenAI's shape; retry 429 and 503 after `Retry-After`, never 401, 402, 403 or 404
- Keep keys in environment variables; never print or commit them

## Docs

- [Everything in one page]({base}/llms-full.txt): set-up, endpoints, models, errors, limits
- [OpenAPI contract]({base}/openapi.yaml): schemas of every endpoint

## Optional

- [Health]({base}/readyz): 200 when the gateway takes requests
)",
      fmt::arg("brand", brand), fmt::arg("base", base_url), fmt::arg("key", key),
      fmt::arg("prefix", config.brand.key_prefix));
  if (!config.brand.docs_url.empty()) {
    fmt::format_to(std::back_inserter(out), "- [Documentation]({}): for people\n",
                   config.brand.docs_url);
  }
  return out;
}

std::string LlmsFullText(const config::Config& config, std::string_view base_url) {
  const std::string brand = Plain(config.brand.name);
  const std::string key = KeyVariable(brand);
  const config::Model* example = FirstModel(config);
  const std::string model = example == nullptr ? "MODEL" : Plain(example->id);
  std::string out = fmt::format(
      R"(# {brand}

> An OpenAI-compatible API gateway: one endpoint and one API key in front of AI providers, with
> limits, budgets and exact usage for each key.

## Safe set-up for an agent

1. Ask for the name of the environment variable that holds the key; do not ask for the key itself.
2. Set the base URL of the client to `{base}/v1` (`{base}/openai/v1` is the same).
3. Run `GET /models` to check the key, and choose a model from the answer.
4. Run one short `POST /responses` without streaming.
5. Send a stable `x-session-id` with long-running work, and keep it across retries.

```bash
export {key}="{prefix}..."
export OPENAI_API_KEY="${key}"
export OPENAI_BASE_URL="{base}/v1"
curl "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"
curl "$OPENAI_BASE_URL/responses" \
  -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" \
  -d '{{"model": "{model}", "input": "Return only: connected"}}'
```

Never print a key, commit it or put it into code that runs in a browser.

## Authentication

The first of these that is present counts: `x-api-key`, `x-goog-api-key`,
`Authorization: Bearer`, `api-key`, the query parameter `key`. A key that is unknown, disabled,
expired or revoked gets one and the same 401.

## Endpoints

| path | what it does |
| --- | --- |
| `GET {base}/v1/models` | the models of this key |
| `POST {base}/v1/responses` | OpenAI's Responses API, JSON and event stream |
| `POST {base}/v1/responses/input_tokens` | counts tokens, free of charge |
| `POST {base}/v1/responses/compact` | compacts a conversation |
| `POST {base}/v1/chat/completions` | OpenAI's Chat Completions API, JSON and event stream |
| `GET {base}/v1/requests/ID` | the signed receipt of a request of this key; ID is its `x-request-id` |
| `POST {base}/v1/audio/transcriptions` | OpenAI's transcriptions: a form with `model` and `file` |

Request members the gateway does not know pass through untouched. WebSocket upgrades of
`/v1/responses` are answered 426: use POST.

## Models

`GET /models` is the truth for a key. This deployment serves:

)",
      fmt::arg("brand", brand), fmt::arg("base", base_url), fmt::arg("key", key),
      fmt::arg("prefix", config.brand.key_prefix), fmt::arg("model", model));
  bool wildcard = false;
  for (const config::Model& served : config.models) {
    if (served.id == "*") {
      wildcard = true;
      continue;
    }
    std::string use;
    for (const auto& [bit, name] :
         {std::pair(config::kCapResponses, "Responses"),
          std::pair(config::kCapChat, "Chat Completions"),
          std::pair(config::kCapMessages, "Anthropic Messages"),
          std::pair(config::kCapGenerateContent, "Gemini generateContent"),
          std::pair(config::kCapTranscription, "Audio transcription")}) {
      if ((served.capabilities & bit) == 0) continue;
      if (!use.empty()) use += " and ";
      use += name;
    }
    fmt::format_to(std::back_inserter(out), "- `{}`: {}\n", Plain(served.id), use);
  }
  if (wildcard) out += "- any other name is passed to the upstream as it is\n";
  fmt::format_to(std::back_inserter(out), R"(
## Limits

Every reply tells the limits of the key: `x-ratelimit-limit-requests`,
`x-ratelimit-remaining-requests`, `x-ratelimit-reset-requests` (a duration such as `1s`), the same
three with `-tokens` when the key has a token limit, and `x-ratelimit-limit`,
`x-ratelimit-remaining`, `x-ratelimit-reset` (Unix seconds). Every 429 and 503 has `Retry-After`.

A key may have a budget in US dollars that is never passed. The most a request can cost is held
before it is sent; when less is left than the asked output can cost, the output limit is lowered to
what fits and said in `{prefix}-max-output-tokens`; when nothing useful fits, the answer is 402.

## Errors

Errors are `{{"error": {{"message", "type", "param", "code"}}}}`. Every reply has `x-request-id`: give
it to the operator.

)",
                 fmt::arg("prefix", config.brand.header_prefix));
  AppendErrors(out);
  out += R"(
## Retries

- 429 and 503: wait for `Retry-After`, then retry with exponential back-off and jitter.
- 500, 502, 504 and lost connections: retry with back-off; a stream that broke off is not complete.
- 400, 401, 402, 403, 404, 413, 415: do not retry; fix the request, the key or the budget first.
- Obey `x-should-retry` where it is present.
)";
  return out;
}

std::optional<server::Page> DocsPage(const config::Config& config, std::string_view path,
                                     std::string_view host) {
  constexpr std::string_view kText = "text/plain; charset=utf-8";
  if (path == "/llms.txt") {
    return server::Page{200, std::string(kText), LlmsText(config, BaseUrl(config, host))};
  }
  if (path == "/llms-full.txt") {
    return server::Page{200, std::string(kText), LlmsFullText(config, BaseUrl(config, host))};
  }
  if (path == "/openapi.yaml") {
    return server::Page{200, "application/yaml; charset=utf-8", std::string(OpenApiYaml())};
  }
  return std::nullopt;
}

// The contract is longer than the 65,536 characters every compiler must take; ours take it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"
std::string_view OpenApiYaml() {
  static constexpr std::string_view kYaml =
#include "admin/openapi.inc"
      ;
  return kYaml;
}
#pragma GCC diagnostic pop

std::string ErrorsReferenceMarkdown() {
  std::string out = R"(# Errors

Generated from `src/base/error_list.h` by `weir reference errors`; do not edit.

Every refusal a caller can meet. 402 is about money and never worth a retry, 429 means later, 403 is
about permission, 503 means that there is no capacity. The name is what logs, metrics and the
request log call it.

| name | status | type | code | message |
| --- | --- | --- | --- | --- |
)";
  for (const RefusalText& text : kRefusalTexts) {
    if (text.refusal == Refusal::kNone) continue;
    fmt::format_to(std::back_inserter(out), "| {} | {} | `{}` | {} | {} |\n", text.name,
                   text.status, text.type,
                   text.code.empty() ? std::string("none") : fmt::format("`{}`", text.code),
                   text.message);
  }
  return out;
}

std::string MetricsReferenceMarkdown() {
  std::string out = R"(# Metrics

Generated from `src/telemetry/metrics.cc` by `weir reference metrics`; do not edit.

`GET /metrics` on the admin listener, in Prometheus' text format. Models and keys are not labels:
both can be unbounded; `GET /admin/v1/requests` answers by model and key.

| name | type | labels | what it is |
| --- | --- | --- | --- |
)";
  for (const telemetry::MetricDescription& metric : telemetry::MetricDescriptions()) {
    fmt::format_to(std::back_inserter(out), "| `{}` | {} | {} | {} |\n", metric.name, metric.type,
                   metric.labels.empty() ? std::string_view("none") : metric.labels, metric.help);
  }
  return out;
}

}  // namespace weir::admin

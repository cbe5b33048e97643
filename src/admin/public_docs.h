// What the gateway says about itself to people and agents: /llms.txt, /llms-full.txt (the form of
// llmstxt.org), /openapi.yaml, and the status page of the admin listener. Texts only; whoever
// mounts them decides where. No secret, no upstream name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"
#include "server/session.h"

namespace weir::admin {

// The short form: what this is, how to call it, where the rest is.
//   base_url   how callers reach the gateway, scheme and authority without a trailing slash
std::string LlmsText(const config::Config& config, std::string_view base_url);

// The whole: set-up, endpoints, models, errors, limits, retries.
std::string LlmsFullText(const config::Config& config, std::string_view base_url);

// The page at a path of the gateway listener ("/llms.txt"), or none.
//   host   the request's Host header; used for links when it looks like one
std::optional<server::Page> DocsPage(const config::Config& config, std::string_view path,
                                     std::string_view host);

// api/openapi.yaml as it was when this program was built.
std::string_view OpenApiYaml();

// The reference pages that are generated from code.
// Every refusal with its status, type, code and message, as Markdown: docs/reference/errors.md.
std::string ErrorsReferenceMarkdown();

// Every metric, as Markdown: docs/reference/metrics.md.
std::string MetricsReferenceMarkdown();

}  // namespace weir::admin

#include "gateway/transcribe.h"

#include <algorithm>

namespace weir::gateway {
namespace {

// OpenAI's models make about ten tokens of a second of audio (the usage in its API reference,
// 2026).
constexpr std::int64_t kMsPerToken = 100;
constexpr std::int64_t kBytesPerToken = 4;

std::int64_t CeilOf(std::int64_t amount, std::int64_t each) { return (amount + each - 1) / each; }

std::int64_t InputTokens(const Plan& plan, std::int64_t audio_ms) {
  const std::int64_t tokens =
      CeilOf(audio_ms, kMsPerToken) + CeilOf(plan.shape.audio->text_bytes, kBytesPerToken);
  return std::min(tokens, plan.quote.input_tokens_bound);
}

// Of those, the ones that are audio.
std::int64_t AudioTokens(const Plan& plan, std::int64_t audio_ms) {
  return std::min(CeilOf(audio_ms, kMsPerToken), plan.quote.input_tokens_bound);
}

}  // namespace

bool IsJsonReply(const Exchange& x) {
  if (!x.plan.shape.audio) return true;
  const std::string_view type = x.reply->Find("content-type");
  if (type.empty()) return !dialect::IsText(x.plan.shape.audio->format);
  constexpr std::string_view kJson = "application/json";
  return type.size() >= kJson.size() && EqualsIgnoreCase(type.substr(0, kJson.size()), kJson);
}

Usage OwnAudioCount(const Plan& plan, std::int64_t output_tokens, UsageSource source) {
  const std::int64_t audio_ms = plan.shape.audio->length.ms;
  return {.input_tokens = InputTokens(plan, audio_ms),
          .output_tokens = output_tokens,
          .source = source,
          .audio_ms = audio_ms,
          .input_audio_tokens = AudioTokens(plan, audio_ms)};
}

void CompleteAudio(const Plan& plan, std::int64_t output_tokens, Usage& usage) {
  if (!plan.shape.audio || usage.source != UsageSource::kProvider) return;
  const config::Price& price = plan.quote.price;
  if (price.audio_second.n > 0 && usage.audio_ms == 0) {
    usage.audio_ms = plan.shape.audio->length.ms;
    usage.source = UsageSource::kEstimated;
  }
  const bool by_token =
      price.input.p > 0 || price.output.p > 0 || price.input_audio.p > 0 || !price.tiers.empty();
  if (by_token && usage.input_tokens == 0 && usage.output_tokens == 0) {
    usage.input_tokens = InputTokens(plan, usage.audio_ms);
    usage.input_audio_tokens = AudioTokens(plan, usage.audio_ms);
    usage.output_tokens = output_tokens;
    usage.source = UsageSource::kEstimated;
  }
}

}  // namespace weir::gateway

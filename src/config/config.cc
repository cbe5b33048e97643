#include "config/config.h"

namespace weir::config {

// Linear on purpose: a deployment has tens of models (at most a thousand), and comparing lengths
// first makes a pass over a hundred cheaper than hashing the name.
const Model* Config::FindModel(std::string_view id) const {
  const Model* wildcard = nullptr;
  for (const Model& model : models) {
    if (model.id == id) return &model;
    if (model.id == "*") wildcard = &model;
  }
  return wildcard;
}

const PriceVersion* Config::PriceOf(const Model& model, std::string_view asked, Instant now) const {
  if (!model.price_by_name) return model.price.At(now);
  // As an upstream's own, "openai/gpt-5.5", or as it is.
  const PriceList* listed = nullptr;
  if (catalog != nullptr) {
    if (!model.routes.empty()) {
      std::string name = upstreams[model.routes.front().upstream].name;
      listed = catalog->Find(name.append("/").append(asked));
    }
    if (listed == nullptr) listed = catalog->Find(asked);
  }
  const PriceVersion* const found = listed == nullptr ? nullptr : listed->At(now);
  return found != nullptr ? found : price_ceiling.At(now);
}

}  // namespace weir::config

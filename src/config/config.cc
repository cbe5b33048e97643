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

}  // namespace weir::config

#include "config/other_names.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <sstream>

#include "config/fields.h"

namespace isobath {
namespace {

struct OtherName {
  char const* names;  // between spaces
  char const* here;
};

constexpr OtherName other_names[] = {
    {" learning_rate max_lr peak_lr ", "here it is train.lr"},
    {" min_learning_rate lr_min ", "here it is train.min_lr, a share of train.lr"},
    {" lr_scheduler lr_schedule scheduler lr_scheduler_type ", "here it is train.schedule"},
    {" warm_up warmup_steps warmup_iters warmup_ratio ", "here it is train.warmup, as 500step or 5%"},
    {" sequences num_sequences batch_size global_batch_size train_batch_size per_device_train_batch_size ",
     "here it is train.batch_tokens, in tokens: the number of sequences times model.context"},
    {" micro_batch_size gradient_accumulation gradient_accumulation_steps grad_accum accumulation ",
     "here it is train.micro_batch_tokens, the tokens of one forward and backward pass (auto: what fits)"},
    {" max_steps max_iters num_steps total_steps iterations steps ", "here it is train.budget, as 500step"},
    {" epochs num_epochs num_train_epochs max_epochs ", "here it is train.budget, as 3epoch"},
    {" n_layer n_layers num_layers num_hidden_layers depth_layers ", "here it is model.layers"},
    {" d_model n_embd hidden_size embed_dim dim emb_dim ", "here it is model.width"},
    {" n_head n_heads num_heads num_attention_heads ", "here it is model.heads"},
    {" n_kv_heads num_kv_heads num_key_value_heads num_query_groups ", "here it is model.kv_heads"},
    {" d_ff ffn_dim intermediate_size ffn_hidden_size ", "here it is model.mlp_width"},
    {" activation hidden_act act_fn ", "here it is model.mlp: swiglu or gelu"},
    {" block_size context_length context_size context_window seq_len seq_length sequence_length max_length max_seq_len n_ctx "
     "max_position_embeddings ",
     "here it is model.context"},
    {" tie_word_embeddings tied_embeddings weight_tying tie_weights ", "here it is model.tie_embeddings"},
    {" initializer_range init_scale ", "here it is model.init_std"},
    {" rope_base rotary_base ", "here it is model.rope_theta"},
    {" rms_norm_eps layer_norm_eps layer_norm_epsilon ", "here it is model.norm_eps"},
    {" max_grad_norm grad_clip gradient_clip_val clip_grad ", "here it is train.clip_norm"},
    {" adam_beta1 adam_beta2 beta1 beta2 ", "here it is train.betas, as [0.9, 0.95]"},
    {" adam_epsilon adam_eps epsilon ", "here it is train.eps"},
    {" wd l2 ", "here it is train.weight_decay"},
    {" eval_steps eval_interval val_check_interval ", "here it is eval.every, as 500step or 25%"},
    {" save_steps save_interval checkpoint_interval ", "here it is checkpoint.every, as 500step or 25%"},
    {" save_total_limit ", "here it is checkpoint.keep"},
    {" logging_steps log_interval ", "here it is train.log_every"},
    {" output_dir out_dir save_dir ", "here it is run_dir"},
    {" dataset train_file data_path data_dir dataset_path ", "here it is data.sources"},
    {" validation_file val_file eval_file ", "here it is data.valid_sources"},
    {" vocab num_tokens ", "here it is tokenizer.vocab_size"},
    {" dtype fp16 bf16 mixed_precision torch_dtype ", "here it is precision: fp32 or bf16"},
    {" num_workers ", "there is no such key: text is prepared once, and one thread reads ahead"},
    {" optimizer optim ", "there is no such key: the optimizer is AdamW (train.betas, train.eps, train.weight_decay)"},
    {" dropout attention_dropout resid_dropout hidden_dropout attn_dropout embd_dropout ",
     "there is no dropout: runs at equal compute see their text about once"},
    {" label_smoothing ", "there is no label smoothing: it would change what the loss means"},
    {" num_experts n_experts top_k_experts ", "there are no mixtures of experts; depth.kind: mod routes tokens around blocks"},
    {" resume resume_from_checkpoint resume_from ckpt_path ",
     "there is no such key: `isobath train` with the same configuration resumes a run from its last checkpoint by itself"},
    {" amp autocast ", "here it is precision: fp32 or bf16"},
    {" capacity_factor ", "here it is depth.capacity, a share of the tokens"},
};

}  // namespace

std::string known_elsewhere(std::string_view name) {
  std::string word(" ");
  std::transform(name.begin() + static_cast<std::ptrdiff_t>(name.rfind('.') + 1), name.end(), std::back_inserter(word),
                 [](unsigned char c) { return c == '-' || c == ' ' ? '_' : static_cast<char>(std::tolower(c)); });
  word += ' ';
  for (OtherName const& known : other_names)
    if (std::string_view(known.names).find(word) != std::string_view::npos) return known.here;
  return "";
}

std::vector<std::string> names_elsewhere() {
  std::vector<std::string> names;
  for (OtherName const& known : other_names) {
    std::istringstream words(known.names);
    for (std::string word; words >> word;) names.push_back(word);
  }
  return names;
}

std::string key_meant_by(std::string_view name) {
  if (find_field(name) != nullptr) return std::string(name);
  for (ConfigField const& field : config_fields())
    if (field.path.substr(field.path.rfind('.') + 1) == name) return field.path;
  constexpr std::string_view says = "here it is ";
  std::string const here = known_elsewhere(name);
  if (!here.starts_with(says)) return "";
  std::string const key = here.substr(says.size(), here.find_first_of(" ,:", says.size()) - says.size());
  return find_field(key) != nullptr ? key : "";
}

}  // namespace isobath

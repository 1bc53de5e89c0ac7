"""Config keys of the libraries that a module's config may hold.

peft: the fields of its config classes that hold numbers, names, and lists of names. adapters: the
fields of its config classes. transformers: the keys of the supported encoders' configs.
"""

from __future__ import annotations

_PEFT_TEXT = """
    task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode
    r target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora
    modules_to_save init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern
    megatron_config megatron_core trainable_token_indices loftq_config eva_config corda_config
    lora_ga_config use_dora velora_config alora_invocation_tokens use_qalora qalora_group_size
    monteclora_config layer_replication runtime_config lora_bias target_parameters use_bdlora
    arrow_config kasa_config ensure_weight_tying
    target_r init_r tinit tfinal deltaT beta1 beta2 orth_reg_weight total_step
    boft_block_size boft_block_num boft_n_butterfly_factor boft_dropout init_weights
    block_size block_size_pattern delora_lambda module_dropout lambda_pattern
    n_frequency scaling random_loc_seed n_frequency_pattern
    hybrid_r alpha gralora_dropout gralora_k hira_dropout apply_GS
    feedforward_modules init_ia3_weights
    rank_dropout use_effective_conv2d decompose_both decompose_factor rank_dropout_scale
    miss_dropout mini_r oft_block_size coft eps block_share use_cayley_neumann
    num_cayley_neumann_terms mask_type random_seed
    projection_prng_key save_projection sparse very_sparse randlora_dropout randlora_alpha
    vera_dropout d_initial num_vectors vector_length topk save_only_topk_weights vblora_dropout
    init_vector_bank_bound init_logits_std wavelet_family use_idwt proportional_parameters
    num_virtual_tokens token_dim num_transformer_submodules num_attention_heads num_layers
    prompt_tuning_init encoder_hidden_size prefix_projection encoder_reparameterization_type
    encoder_num_layers encoder_dropout token_indices variant group_size
"""
PEFT = frozenset(_PEFT_TEXT.split())

_ADAPTERS_OUTER_TEXT = """
    config hidden_size model_class model_name model_type name version config_id
"""
ADAPTERS_OUTER = frozenset(_ADAPTERS_OUTER_TEXT.split())

_ADAPTERS_CONFIG_TEXT = """
    mh_adapter output_adapter reduction_factor non_linearity original_ln_before original_ln_after
    ln_before ln_after init_weights init_weights_seed is_parallel scaling use_gating
    residual_before_ln adapter_residual_before_ln inv_adapter inv_adapter_reduction_factor
    cross_adapter leave_out dropout phm_layer phm_dim factorized_phm_W shared_W_phm shared_phm_rule
    factorized_phm_rule phm_c_init phm_init_range learn_phm hypercomplex_nonlinearity phm_rank
    phm_bias stochastic_depth
    architecture encoder_prefix cross_prefix flat prefix_length bottleneck_size shared_gating
    prompt_length prompt_init combine
    selfattn_lora intermediate_lora output_lora r alpha attn_matrices composition_mode use_dora
    vera_d vera_b dtype n_up_projection task_specific_matrix_type weights_sharpness
    layers prefix_positions suffix_positions orthogonality tied_weights output_reft
    key query value query_before_ln regularization residual_before temperature
    value_before_softmax value_initialized dropout_prob
"""
ADAPTERS_CONFIG = frozenset(_ADAPTERS_CONFIG_TEXT.split())

_ADAPTERS_HEAD_TEXT = """
    head_type num_labels layers activation_function label2id bias use_pooler dropout_prob
    num_choices embedding_size vocab_size layer_norm shift_labels multilabel
"""
ADAPTERS_HEAD = frozenset(_ADAPTERS_HEAD_TEXT.split())

_TRANSFORMERS_TEXT = """
    architectures model_type vocab_size hidden_size num_hidden_layers num_attention_heads
    intermediate_size hidden_act hidden_dropout_prob attention_probs_dropout_prob
    max_position_embeddings type_vocab_size initializer_range layer_norm_eps pad_token_id
    bos_token_id eos_token_id position_embedding_type use_cache classifier_dropout output_past
    torch_dtype dtype transformers_version is_decoder add_cross_attention
    cross_attention_hidden_size
    tie_word_embeddings gradient_checkpointing directionality pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type
    id2label label2id num_labels problem_type finetuning_task
    _sliding_window_pattern activation_dropout activation_function
    apply_residual_connection_post_layernorm attention_bias attention_dropout attention_heads
    attn_logit_softcapping d_model dropout ffn_dim final_logit_softcapping head_dim
    hidden_activation hidden_dropout init_std layer_norm_epsilon layer_types layerdrop
    max_window_layers mlp_bias n_embed n_head n_inner n_layer num_key_value_heads num_layers
    offset_alibi pretraining_tp query_pre_attn_scalar rms_norm_eps rope_local_base_freq
    rope_parameters rope_scaling rope_theta scale_embedding seq_length sliding_window
    slow_but_exact use_bidirectional_attention use_sliding_window
    activation adapter_layer_norm adapter_reduction_factor adapter_reuse_layer_norm
    classifier_activation classifier_bias classifier_pooling cls_token_id d_ff d_kv decoder_bias
    decoder_start_token_id default_language dense_act_fn deterministic_flash_attn dim dropout_rate
    embedding_dropout embedding_size feed_forward_proj global_attn_every_n_layers global_rope_theta
    hidden_dim initializer_cutoff_factor initializer_factor is_encoder_decoder is_gated_act
    languages legacy ln_before_adapter local_attention local_rope_theta max_relative_positions
    mlp_dropout n_heads n_layers norm_bias norm_eps norm_rel_ebd num_decoder_layers num_heads
    pooler_dropout pooler_hidden_act pooler_hidden_size pos_att_type position_biased_input
    position_buckets pre_norm qa_dropout reference_compile relative_attention
    relative_attention_max_distance relative_attention_num_buckets repad_logits_with_grad
    scale_decoder_outputs sep_token_id seq_classif_dropout share_att_key sinusoidal_pos_embds
    sparse_pred_ignore_index sparse_prediction summary_activation summary_last_dropout summary_type
    summary_use_proj tokenizer_class
"""
TRANSFORMERS = frozenset(_TRANSFORMERS_TEXT.split())

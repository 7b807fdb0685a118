"""How much each feature of a log speaks for or against each cause, the priors, and the calibration.

Weights are natural logarithms of likelihood ratios against the average cause: judged by hand (`EXPERT_WEIGHTS`), and,
where a run shows nothing but series, a correction that is estimated from runs whose cause is known (`corrections.json`,
written by `python -m bench diagnosis --fit`, with its provenance). A feature says nothing about a cause that neither
names.
"""

import json
from collections.abc import Mapping
from importlib import resources
from itertools import pairwise

EXPERT_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    # where inf or nan begins
    "nan_at_first_record": {
        "nonfinite_data": 1.8, "bad_labels": 1.3, "log_of_zero": 1.0, "empty_attention_row": 1.0,
        "zero_over_zero": 0.8,
        "weights_too_large": 0.9, "forward_overflow": 0.8, "gradient_at_zero": 0.2, "eps_lost": 0.4,
        "inputs_not_scaled": 0.3,
        "step_too_large": -3.0, "adam_stale": -3.0, "no_warmup": -2.5, "bad_batches": -2.0,
        "recurrent_product": -1.0,
        "gradients_accumulate": -3.0, "loss_scale_collapse": -0.5,
    },
    "nan_after_first_update": {
        "gradient_at_zero": 1.6, "where_backward": 1.2, "step_too_large": 0.4, "weights_too_large": 0.8,
        "summed_loss": 0.4,
        "inputs_not_scaled": 0.6, "nonfinite_data": -0.5, "adam_stale": -1.5, "gradients_accumulate": -1.5,
        "no_warmup": -0.8, "bad_batches": -1.0, "eps_lost": 0.6,
    },
    "nan_soon": {
        "nonfinite_data": 1.0, "gradient_at_zero": 0.9, "where_backward": 0.6, "zero_over_zero": 0.7,
        "log_of_zero": 0.8, "bad_labels": 0.5, "eps_lost": 0.8,
        "forward_overflow": 0.3, "empty_attention_row": 0.6, "step_too_large": -0.4,
    },
    "nan_comes_and_goes": {
        "bad_labels": 2.6, "zero_over_zero": 0.6, "loss_scale_collapse": 0.4, "step_too_large": -2.5,
        "weights_too_large": -2.0,
        "log_of_zero": -0.5, "adam_stale": -2.5, "nonfinite_data": -0.5, "gradient_at_zero": -1.5,
        "where_backward": -1.5,
        "hardware": 0.5, "no_warmup": -2.0,
    },
    "nan_once_confident": {"log_of_zero": 0.7, "eps_lost": 0.6, "gradient_at_zero": 0.2, "nonfinite_data": -0.3},
    "rose_before_nan": {
        "step_too_large": 2.2, "no_warmup": 0.6, "gradients_accumulate": 0.8, "recurrent_product": 0.4,
        "summed_loss": 0.4,
        "inputs_not_scaled": 0.4, "weights_too_large": 0.3, "forward_overflow": 0.0, "nonfinite_data": -2.5,
        "zero_over_zero": -2.0, "empty_attention_row": -2.0, "bad_labels": -2.0, "gradient_at_zero": -1.5,
        "where_backward": -1.5, "log_of_zero": -0.6, "eps_lost": -0.8, "hardware": -1.5, "bad_batches": -0.3,
    },
    "sudden_nan": {
        "nonfinite_data": 1.2, "gradient_at_zero": 0.8, "zero_over_zero": 1.0, "log_of_zero": 1.0,
        "bad_labels": 0.6,
        "empty_attention_row": 0.8, "forward_overflow": 0.4, "where_backward": 0.5, "eps_lost": 0.3,
        "hardware": 0.6,
        "step_too_large": -1.6, "weights_too_large": -1.2, "gradients_accumulate": -1.5, "no_warmup": -0.8,
        "summed_loss": -1.2, "inputs_not_scaled": -1.0, "recurrent_product": -0.5,
    },
    "loss_inf_first": {
        "log_of_zero": 1.4, "forward_overflow": 0.5, "step_too_large": 0.2, "weights_too_large": 0.3,
        "eps_lost": 0.3,
        "nonfinite_data": -0.3, "zero_over_zero": -1.2, "gradient_at_zero": -1.2, "empty_attention_row": -0.8,
        "where_backward": -1.0,
    },
    "gradient_nan_first": {
        "gradient_at_zero": 2.0, "where_backward": 1.4, "log_of_zero": 0.9, "nonfinite_data": -1.5,
        "bad_labels": -1.5,
        "zero_over_zero": -0.8, "forward_overflow": -0.3, "step_too_large": -0.5, "empty_attention_row": 0.2,
    },
    "gradient_inf_first": {
        "gradient_at_zero": 1.2, "forward_overflow": 0.4, "recurrent_product": 0.6, "log_of_zero": 0.4,
        "nonfinite_data": -1.5, "step_too_large": 0.1, "bad_labels": -1.5, "weights_too_large": 0.3,
    },
    "gradient_rose": {
        "step_too_large": 1.2, "recurrent_product": 0.7, "no_warmup": 0.5, "weights_too_large": 0.2,
        "adam_stale": 0.3,
        "nonfinite_data": -1.5, "zero_over_zero": -1.5, "bad_labels": -1.2, "empty_attention_row": -1.2,
        "log_of_zero": -0.5, "gradient_at_zero": 0.1,
    },
    "gradient_explodes_at_once": {
        "recurrent_product": 1.2, "adam_stale": 0.5, "bad_batches": 0.9, "gradient_at_zero": 0.6,
        "log_of_zero": 0.5,
    },
    "steep_at_start": {"inputs_not_scaled": 0.9, "weights_too_large": -0.6},
    "gentle_at_start": {"weights_too_large": 0.8, "inputs_not_scaled": -0.6, "summed_loss": -0.3},
    "even_at_start": {"summed_loss": 0.5, "weights_too_large": 0.1, "inputs_not_scaled": -0.3},
    "huge_gradient_at_start": {
        "weights_too_large": 1.4, "inputs_not_scaled": 1.0, "summed_loss": 1.0, "recurrent_product": 0.7,
        "step_too_large": -0.2, "clip_before_unscale": 0.3,
    },
    # growth and schedule
    "geometric_growth": {
        "step_too_large": 1.8, "gradients_accumulate": -0.3, "no_warmup": 0.2, "recurrent_product": 0.1,
        "summed_loss": 0.3,
        "inputs_not_scaled": 0.3,
    },
    "rises_from_start": {
        "step_too_large": 1.6, "summed_loss": 0.4, "inputs_not_scaled": 0.3, "weights_too_large": 0.4,
        "no_warmup": 0.3,
        "gradients_accumulate": -0.8, "adam_stale": -2.0, "bad_batches": -1.5, "chance_labels": -1.0,
    },
    "lost_after_learning": {
        "step_too_large": 0.9, "gradients_accumulate": 0.9, "no_warmup": 0.7, "adam_stale": 0.8, "bad_batches": 0.5,
        "chance_labels": -2.0, "weights_too_large": -1.0, "step_too_small": -2.0, "no_update": -2.0,
        "dead_relu": 0.6,
    },
    "thrown_up": {
        "step_too_large": 2.8, "inputs_not_scaled": 0.4, "no_warmup": 0.3, "summed_loss": 0.3, "chance_labels": -2.0,
        "no_update": -3.0, "step_too_small": -3.0, "vanishing_signal": -1.0, "adam_stale": -1.0,
    },
    "gradient_against_loss": {"gradients_accumulate": 2.8, "step_too_large": -0.2, "weights_too_large": -1.0},
    "gradient_adds_up_while_flat": {"no_update": 3.5, "gradients_accumulate": 0.8, "step_too_small": -1.0},
    "gradient_adds_up": {"gradients_accumulate": 3.2, "step_too_large": -0.5},
    "rate_at_peak": {"no_warmup": 2.0, "step_too_large": 1.0},
    "rate_rose_again": {"no_warmup": 3.0, "step_too_large": 0.5},
    "jump_at_restart": {"no_warmup": 2.6, "adam_stale": 0.5, "bad_batches": -0.5},
    "rate_high": {"step_too_large": 1.4, "step_too_small": -3.0, "no_warmup": 0.2},
    "rate_low": {"step_too_large": -1.5, "no_warmup": -0.8, "step_too_small": 1.4},
    "rate_usual": {"step_too_small": -1.2, "step_too_large": -0.8},
    "rate_tiny": {"step_too_small": 3.0, "step_too_large": -4.0, "no_warmup": -3.0},
    "rate_zero": {"no_update": 4.5, "step_too_small": -0.5},
    "jump": {
        "bad_batches": 2.4, "adam_stale": 0.8, "step_too_large": -0.4, "no_warmup": -0.3,
        "gradients_accumulate": -0.8,
        "weights_too_large": -1.5, "chance_labels": -3.0,
    },
    "late_spike": {"adam_stale": 2.0, "bad_batches": 1.2, "step_too_large": -0.2, "weights_too_large": -2.0},
    "spikes": {
        "bad_batches": 2.2, "adam_stale": 0.4, "step_too_large": 0.4, "overfitting": -1.0, "batch_norm": -0.7,
        "chance_labels": -0.7,
    },
    # the first loss
    "huge_first_loss": {
        "inputs_not_scaled": 1.7, "summed_loss": 1.4, "weights_too_large": 1.6, "chance_labels": -1.5,
        "vanishing_signal": -1.5, "step_too_small": -0.8, "no_warmup": -1.0, "gradients_accumulate": -0.8,
        "step_too_large": -1.5, "recurrent_product": -0.5, "adam_stale": -1.5,
    },
    "huge_early_loss": {
        "inputs_not_scaled": 1.2, "summed_loss": 1.0, "weights_too_large": 1.0, "step_too_large": 0.3,
        "chance_labels": -1.5, "vanishing_signal": -1.5, "step_too_small": -0.8, "adam_stale": -1.0,
        "recurrent_product": 0.3,
    },
    "first_loss_is_batch_times_chance": {"summed_loss": 3.5, "inputs_not_scaled": -0.8, "weights_too_large": -0.8},
    "usual_first_loss": {"weights_too_large": -1.3, "inputs_not_scaled": -1.0, "summed_loss": -2.0},
    # loss that does not move
    "at_chance": {
        "vanishing_signal": 1.3, "chance_labels": 1.0, "dead_relu": 0.9, "symmetric_init": 1.0,
        "step_too_small": 0.3,
        "saturated_activation": 0.5, "no_update": 0.2, "wrong_output": 0.4, "update_swallowed": 0.1,
        "gradient_underflow": 0.5, "overfitting": -3.0,
    },
    "flat_beside_chance": {
        "no_update": 1.4, "step_too_small": 1.4, "update_swallowed": 0.9, "wrong_output": 0.9,
        "gradient_underflow": 0.6,
        "clip_before_unscale": 0.8, "vanishing_signal": -0.2, "chance_labels": 0.2, "symmetric_init": -0.8,
    },
    "fell_to_chance": {
        "step_too_large": 1.3, "dead_relu": 1.3, "inputs_not_scaled": 0.5, "weights_too_large": 0.5,
        "no_update": -2.5,
        "chance_labels": 0.4, "step_too_small": -1.5, "symmetric_init": -1.0, "vanishing_signal": -0.3,
    },
    "fell_at_first": {
        "chance_labels": 1.2, "wrong_output": 0.4, "no_update": -2.5, "step_too_small": -1.8, "update_swallowed": -0.8,
        "clip_before_unscale": -1.0, "dead_relu": 0.4, "step_too_large": 0.4,
    },
    "creeps": {
        "step_too_small": 1.6, "no_update": -2.5, "chance_labels": 0.4, "vanishing_signal": 0.3,
        "update_swallowed": 0.3,
        "clip_before_unscale": 0.8, "undertrained": 0.8, "dead_relu": -1.0, "symmetric_init": -0.5,
    },
    "exactly_constant": {
        "no_update": 1.9, "dead_relu": 1.4, "update_swallowed": 0.7, "symmetric_init": 0.3, "wrong_output": 0.4,
        "gradient_underflow": 0.9, "chance_labels": -2.5, "step_too_small": -0.8, "vanishing_signal": 0.1,
        "loss_scale_collapse": 0.5,
    },
    "at_clamp": {"loss_clipped": 3.0, "wrong_output": 2.0, "dead_relu": 0.3, "chance_labels": -2.0, "no_update": -0.5},
    "clamp_by_accuracy": {"loss_clipped": 6.0, "saturated_activation": 1.5, "wrong_output": 1.5, "step_too_large": 1.0},
    "exact_clamp": {"loss_clipped": 6.0, "saturated_activation": 1.5, "wrong_output": 2.0, "step_too_large": 1.5},
    "steps_of_clamp": {"loss_clipped": 3.8, "wrong_output": 3.2, "no_update": -1.0},
    "tiny_loss_beside_validation": {
        "gradient_underflow": 3.5, "dead_relu": -1.5, "chance_labels": -2.0, "update_swallowed": 0.5,
        "bad_labels": -1.0,
    },
    "gradient_zero": {
        "dead_relu": 2.2, "gradient_underflow": 1.4, "symmetric_init": 0.6, "vanishing_signal": 0.8,
        "loss_clipped": 0.8,
        "wrong_output": 0.8, "bad_labels": 0.5, "chance_labels": -2.5, "step_too_small": -2.0, "no_update": 0.0,
        "update_swallowed": -1.5,
    },
    "gradient_tiny": {
        "vanishing_signal": 2.2, "saturated_activation": 1.2, "gradient_underflow": 1.0, "dead_relu": 0.2,
        "symmetric_init": 0.4, "chance_labels": -1.8, "no_update": -1.0, "step_too_large": -1.0,
        "wrong_output": 0.4,
        "clip_before_unscale": -0.5, "step_too_small": -0.5,
    },
    "gradient_usual": {
        "chance_labels": 1.0, "no_update": 1.2, "step_too_small": 1.2, "update_swallowed": 0.9,
        "clip_before_unscale": 0.5,
        "vanishing_signal": -0.9, "dead_relu": -1.2, "gradient_underflow": -1.5, "saturated_activation": -0.5,
    },
    "tiny_without_gradient": {
        "gradient_underflow": 2.6, "update_swallowed": 0.3, "loss_clipped": -1.5, "wrong_output": -0.8,
    },
    "high_without_gradient": {"loss_clipped": 2.8, "wrong_output": 2.2, "dead_relu": -1.0, "vanishing_signal": -2.0},
    "gradient_scaled": {"clip_before_unscale": 5.0},
    "gradient_looks_scaled": {"clip_before_unscale": 3.0, "chance_labels": -1.0},
    "zero_loss_and_gradient": {"bad_labels": 2.6, "wrong_output": 1.4, "overfitting": -2.0},
    # scale, format, skipped updates
    "scale_falls": {"loss_scale_collapse": 3.2, "forward_overflow": 1.2, "step_too_large": 0.2, "nonfinite_data": 0.2},
    "scale_falls_and_loss_not_finite": {"forward_overflow": 2.2, "nonfinite_data": 0.4, "loss_scale_collapse": -0.3},
    "updates_skipped": {"loss_scale_collapse": 1.8, "forward_overflow": 0.9},
    "half": {
        "forward_overflow": 1.3, "gradient_underflow": 0.7, "loss_scale_collapse": 0.5, "clip_before_unscale": 0.5,
        "eps_lost": 0.7, "update_swallowed": 0.2,
    },
    "half_state": {"eps_lost": 3.0, "forward_overflow": -0.3},
    "bfloat": {
        "update_swallowed": 1.0, "forward_overflow": -2.0, "gradient_underflow": -3.0, "loss_scale_collapse": -3.0,
        "clip_before_unscale": -3.0,
    },
    "single": {
        "forward_overflow": -2.5, "gradient_underflow": -4.0, "loss_scale_collapse": -4.0, "update_swallowed": -4.0,
        "clip_before_unscale": -4.0, "eps_lost": -0.7,
    },
    "digits_of_bfloat16": {
        "update_swallowed": 2.5, "forward_overflow": -2.0, "gradient_underflow": -3.0, "loss_scale_collapse": -3.0,
        "clip_before_unscale": -3.0,
    },
    "digits_of_float16": {
        "update_swallowed": 1.2, "forward_overflow": 1.2, "eps_lost": 1.2, "gradient_underflow": 0.7,
        "loss_scale_collapse": -0.5, "clip_before_unscale": -0.5,
    },
    "hidden_by_log": {"hidden_nan": 5.0},
    # training and validation
    "validation_not_finite": {"batch_norm": 2.4, "nonfinite_data": 1.2, "zero_over_zero": 0.8, "overfitting": -3.0},
    "validation_never_learns": {"batch_norm": 1.8, "chance_labels": 1.4, "overfitting": 1.2},
    "validation_swings": {"batch_norm": 2.0, "step_too_large": 0.5, "overfitting": -1.0, "chance_labels": -1.0},
    "learned_by_heart": {"overfitting": 1.4, "batch_norm": 0.3, "chance_labels": -0.3},
    "validation_starts_high": {"batch_norm": 1.2, "chance_labels": -0.3},
    "validation_apart": {"overfitting": 1.5, "batch_norm": 1.0, "chance_labels": 0.0},
    "validation_partly_right": {"overfitting": 1.8, "batch_norm": -1.2, "chance_labels": -2.0},
    "learned_slowly": {"chance_labels": 1.8, "overfitting": -0.5, "batch_norm": 0.2},
    "validation_turns": {"overfitting": 4.0, "batch_norm": -0.5},
    "accuracy_at_chance": {"chance_labels": 0.7, "step_too_large": 0.4, "dead_relu": 0.5, "vanishing_signal": 0.5},
    "accuracy_collapsed": {"step_too_large": 1.2, "dead_relu": 1.0, "chance_labels": -2.0, "vanishing_signal": -1.5},
    # architecture
    "recurrent": {"recurrent_product": 2.0},
    # messages
    "message_square_root": {"gradient_at_zero": 5.0},
    "message_logarithm": {"log_of_zero": 4.5, "eps_lost": 0.8},
    "message_logarithm_backward": {"log_of_zero": 4.0, "where_backward": 1.5, "eps_lost": 0.8},
    "message_division": {"zero_over_zero": 4.0, "eps_lost": 1.2, "where_backward": 0.8},
    "message_softmax": {"empty_attention_row": 3.4, "forward_overflow": 1.2, "step_too_large": 0.6},
    "message_exponential": {"forward_overflow": 3.4, "step_too_large": 0.8},
    "message_product": {"where_backward": 2.2, "gradient_at_zero": 1.6, "forward_overflow": 1.0},
    "message_matrix_product": {
        "forward_overflow": 1.4, "step_too_large": 1.0, "weights_too_large": 0.6, "nonfinite_data": 0.4,
    },
    "message_invalid_logarithm": {"log_of_zero": 3.0},
    "message_invalid_square_root": {"gradient_at_zero": 2.4},
    "message_scale_at_minimum": {"loss_scale_collapse": 4.5, "forward_overflow": 1.5},
    "message_boxes": {"step_too_large": 3.0},
    "message_sampling": {"forward_overflow": 1.2, "step_too_large": 1.0, "hidden_nan": 0.3},
    "message_distribution": {"step_too_large": 1.5, "nonfinite_data": 0.6, "log_of_zero": 0.6},
    "message_range_of_probability": {"wrong_output": 3.0, "step_too_large": 0.5, "nonfinite_data": 0.5},
    "message_label": {"bad_labels": 6.0},
    "message_device_assert": {"bad_labels": 3.5},
    "message_batch_of_one": {"batch_norm": 6.0},
    "message_input_not_finite": {"nonfinite_data": 4.5},
    "message_metric_not_finite": {"nonfinite_data": 0.8, "step_too_large": 0.6},
    "message_out_of_memory": {"out_of_memory": 9.0},
    "message_shapes": {"shapes": 9.0},
    # what surrounds the first nan
    "nan_early": {"nonfinite_data": 0.6, "step_too_large": -0.3, "adam_stale": -1.5},
    "nan_late": {
        "nonfinite_data": -0.8, "adam_stale": 0.6, "zero_over_zero": 0.5, "gradient_at_zero": 0.3,
        "where_backward": -1.0,
        "eps_lost": -0.3, "forward_overflow": -0.5,
    },
    "gradient_sound_before_nan": {
        "nonfinite_data": 0.7, "zero_over_zero": 0.9, "bad_labels": 0.5, "log_of_zero": 0.5, "eps_lost": 0.5,
        "empty_attention_row": 0.7, "gradient_at_zero": -1.5, "where_backward": -2.0, "adam_stale": -1.5,
        "step_too_large": -0.8,
    },
    "gradient_sound_in_record_before": {"step_too_large": -0.6},
    "weights_survive": {
        "bad_labels": 1.5, "zero_over_zero": 0.3, "nonfinite_data": -1.0, "step_too_large": -2.0,
        "where_backward": -2.0,
        "gradient_at_zero": -2.0, "adam_stale": -2.0,
    },
    "weights_spoilt": {"bad_labels": -1.5},
    "hidden_from_start": {
        "where_backward": 0.3, "gradient_at_zero": 0.3, "nonfinite_data": 0.3, "step_too_large": -1.0,
    },
    "hidden_after_learning": {"where_backward": -1.0, "step_too_large": -0.8},
    # the surroundings of a nan loss
    "nan_in_one_part": {
        "bad_labels": 1.2, "zero_over_zero": 1.3, "log_of_zero": 0.6, "gradient_at_zero": -1.0, "where_backward": -1.0,
        "step_too_large": -1.5, "weights_too_large": -1.5, "adam_stale": -2.0, "no_warmup": -1.0,
        "nonfinite_data": -0.8,
    },
    "nan_in_all_parts": {
        "step_too_large": 0.7, "gradient_at_zero": 0.5, "no_warmup": 0.3, "adam_stale": 0.3, "bad_labels": -1.2,
        "zero_over_zero": -0.6,
    },
    "records_of_unknown_distance": {"step_too_large": 0.8, "no_warmup": 0.3, "gradients_accumulate": 0.4},
    "accuracy_sound_at_nan": {
        "zero_over_zero": 1.2, "log_of_zero": 1.0, "eps_lost": 0.7, "bad_labels": 0.8, "nonfinite_data": 0.4,
        "forward_overflow": -0.3, "gradient_at_zero": -2.0, "where_backward": -2.0, "adam_stale": -2.0,
        "step_too_large": -0.8,
    },
    "accuracy_lost_at_nan": {
        "gradient_at_zero": 1.0, "where_backward": 0.8, "adam_stale": 1.0, "step_too_large": 0.3,
        "zero_over_zero": -2.0, "log_of_zero": 0.2, "bad_labels": -2.0, "nonfinite_data": -0.6,
    },
    "half_and_nan_at_first": {"forward_overflow": 1.0, "eps_lost": 0.2},
    "data_seen_before": {"nonfinite_data": -1.6, "bad_labels": -1.0, "step_too_large": 0.2},
    "logarithm_in_names": {"log_of_zero": 0.7, "eps_lost": 0.2},
    "records_far_apart": {
        "step_too_large": 1.6, "no_warmup": 0.6, "weights_too_large": 0.8, "gradients_accumulate": 0.8,
    },
    # validation and gradient beside a loss that does not move
    "validation_constant": {
        "no_update": 2.5, "gradient_underflow": 1.0, "dead_relu": 0.5, "step_too_small": -1.0, "chance_labels": -2.5,
        "clip_before_unscale": -0.5, "step_too_large": -2.0,
    },
    "validation_hardly_moves": {
        "step_too_small": 1.0, "clip_before_unscale": 0.8, "vanishing_signal": 0.4, "chance_labels": -0.3,
        "no_update": -1.0,
    },
    "validation_rises": {"chance_labels": 0.8, "overfitting": 0.5, "step_too_large": 0.5, "step_too_small": -1.0},
    "accuracy_lost": {"step_too_large": 0.5, "gradients_accumulate": 0.8, "no_warmup": 0.4, "chance_labels": -2.0},
    "right_only_in_training": {"overfitting": 0.5, "chance_labels": 0.5, "batch_norm": 0.8, "step_too_large": -0.5},
    "accuracy_low_throughout": {"chance_labels": 0.5, "overfitting": -1.0},
    "thrown_at_once": {"step_too_large": 1.0},
    "jumps_above_start": {
        "step_too_large": 1.0, "recurrent_product": 0.5, "chance_labels": -1.5, "step_too_small": -2.0,
    },
    "quiet_at_start_level": {"no_update": 0.3, "dead_relu": 0.3, "vanishing_signal": 0.3, "step_too_large": -1.0},
    "gradient_shrinks": {"dead_relu": 0.5, "vanishing_signal": 0.3, "no_update": -1.5},
    "gradient_steady": {"step_too_small": 0.3},
    "scale_of_one": {"forward_overflow": -1.0, "loss_scale_collapse": -3.0, "clip_before_unscale": -1.0},
}  # fmt: skip


def corrected(corrections: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The expert weights plus corrections of the same shape; features without an expert weight are left out."""
    sums: dict[str, dict[str, float]] = {}
    for feature, judged in EXPERT_WEIGHTS.items():
        added = corrections.get(feature, {})
        sums[feature] = {cause: judged.get(cause, 0.0) + added.get(cause, 0.0) for cause in {**judged, **added}}
    return sums


def _read_corrections() -> Mapping[str, Mapping[str, float]]:
    text = resources.files("qa_service.diagnosis").joinpath("corrections.json").read_text(encoding="utf-8")
    weights: Mapping[str, Mapping[str, float]] = json.loads(text)["weights"]
    return weights


WEIGHTS: Mapping[str, Mapping[str, float]] = corrected(_read_corrections())

PRIORS: Mapping[str, float] = {
    "step_too_large": 0.16, "step_too_small": 0.05, "no_warmup": 0.04, "bad_batches": 0.02, "adam_stale": 0.02,
    "gradients_accumulate": 0.03, "no_update": 0.04, "weights_too_large": 0.05, "vanishing_signal": 0.05,
    "saturated_activation": 0.02, "dead_relu": 0.03, "symmetric_init": 0.02, "recurrent_product": 0.015,
    "batch_norm": 0.02, "summed_loss": 0.03, "inputs_not_scaled": 0.05, "nonfinite_data": 0.05, "bad_labels": 0.03,
    "chance_labels": 0.04, "wrong_output": 0.02, "log_of_zero": 0.05, "eps_lost": 0.015, "gradient_at_zero": 0.04,
    "zero_over_zero": 0.03, "empty_attention_row": 0.025, "where_backward": 0.01, "loss_clipped": 0.02,
    "forward_overflow": 0.05, "gradient_underflow": 0.015, "loss_scale_collapse": 0.03, "clip_before_unscale": 0.01,
    "update_swallowed": 0.02, "hidden_nan": 0.01, "poisoned_average": 0.001, "hardware": 0.003, "overfitting": 0.02,
    "undertrained": 0.01, "out_of_memory": 0.005, "shapes": 0.005,
}  # fmt: skip
"""How often each cause is met, before anything is known of a run."""

CALIBRATION = (
    (0.0, 0.25), (0.22, 0.34), (0.375, 0.46), (0.52, 0.62), (0.65, 0.72), (0.75, 0.8), (0.85, 0.87), (0.95, 0.95),
    (1.0, 0.99),
)  # fmt: skip
"""(probability that the sum of weights gives, share that is right there) for runs that show nothing but series.

Measured on families held out from the estimate of the weights, and set slightly lower.
"""

CALIBRATION_OF_MEASURED = (
    (0.0, 0.0), (0.3, 0.4), (0.5, 0.6), (0.7, 0.75), (0.8, 0.85), (0.9, 0.92), (0.96, 0.96), (0.99, 0.97), (1.0, 0.99),
)  # fmt: skip
"""As `CALIBRATION`, for runs of which layers were measured, or an operation is named."""

CERTAIN_PROBABILITY, LIKELY_PROBABILITY = 0.95, 0.75
"""Probabilities from which on the report says certain, likely; below, possible."""


def calibrate(probability: float, *, measured: bool = False) -> float:
    """The probability that a diagnosis is right, from the one that the sum of its weights gives.

    `measured` says that layers were measured or an operation is named.
    """
    table = CALIBRATION_OF_MEASURED if measured else CALIBRATION
    for (low, at_low), (high, at_high) in pairwise(table):
        if probability <= high:
            return at_low + (at_high - at_low) * (probability - low) / (high - low)
    return table[-1][1]

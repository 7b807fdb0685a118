# ruff: noqa: E501, W291, W293 - lines of logs are as they are
"""Logs as people paste them, modelled on public threads with other numbers, and shortened.

After " <<" a line has the values that should be read from it: key=value, several separated by blanks; "event" stands
for a message. From lines without " <<" nothing should be read.
"""

SNIPPETS: dict[str, str] = {
    "mmdet torn by a pager": """\
 loss_mask: 0.5511, loss: 1.8511 << loss=1.8511
2020-05-15 14:41:49,633 - mmdet - INFO - Epoch [1][250/2500]    lr: 0.00125, eta: 1 day, 15:06:01, time: 1.870, data_time: 1.108, memory: 6226, loss_rpn_cls: 0.2611, loss_rpn_bbox: 0.2512, loss_cls: 0.3311, acc: 86.3311, loss_bbox: 0.3511$ << lr=0.00125 loss_cls=0.3311
 loss_mask: 0.5512, loss: 1.7612 << loss=1.7612
""",
    "mmdet with emphasis": """\
2021-08-18 19:36:36,093 - mmdet - INFO - Epoch [1][100/5808]\tlr: 1.000e-02, eta: 4:49:14, time: 0.717, data_time: 0.020, memory: 8104, loss_rpn_cls: 0.3211, loss_rpn_bbox: 0.1011, loss_cls: 0.4111, acc: 93.2711, loss_bbox: 0.1911, loss: 1.0411 << loss=1.0411 lr=0.01
2021-08-18 19:37:12,902 - mmdet - INFO - Epoch [1][150/5808]\tlr: 1.000e-02, eta: 4:46:48, time: 0.736, data_time: 0.020, memory: 8104, loss_rpn_cls: 0.3311, loss_rpn_bbox: 0.1111, loss_cls: 0.4011, acc: 92.71**39, loss_bbox: nan, loss: nan** << loss=nan loss_bbox=nan
""",
    "mmdet stages": """\
2020-08-01 01:10:31,475 - mmdet - INFO - Epoch [3][50/1749]\tlr: 2.000e-02, eta: 0:52:33, time: 1.899, data_time: 0.046, memory: 5280, loss_rpn_cls: 0.2511, s0.loss_cls: 0.2111, s0.acc: 94.4811, s1.loss_bbox: 0.0311, loss: 0.7311, grad_norm: 0.0611 << loss=0.7311 grad_norm=0.0611 s0.loss_cls=0.2111
""",
    "mmengine in short": """\
04/24 02:03:26 - mmengine - INFO - Exp name: yolo_world_v2_l_8gpus_20240424_014520
04/24 02:03:19 - mmengine - INFO - Epoch(train)  [16][250/290]  base_lr: 2.0000e-03 lr: 1.7221e-03  eta: 1:19:57  time: 0.1959  data_time: 0.0164  memory: 4696  grad_norm: 0.0000  loss: 208.5211  loss_cls: 84.8211  loss_bbox: 57.1411  loss_dfl: 66.5611 << loss=208.5211 grad_norm=0 lr=0.0017221
04/24 02:03:38 - mmengine - INFO - Epoch(train)  [17][ 50/290]  base_lr: 2.0000e-03 lr: 1.7031e-03  eta: 1:19:44  time: 0.2323  data_time: 0.0627  memory: 4483  grad_norm: nan  loss: 209.1811  loss_cls: 85.1511  loss_bbox: 57.4511  loss_dfl: 66.5611 << loss=209.1811 grad_norm=nan
""",
    "keras at its first batches": """\
WARNING:tensorflow:`epsilon` argument is deprecated and will be removed, use `min_delta` instead.
Epoch 1/10 << event
  3/234 [..............................] - ETA: 33:37:24 - loss: 44.4111Batch 3: Invalid loss, terminating training << loss=44.4111
  4/234 [..............................] - ETA: 25:09:00 - loss: inf  << loss=inf
""",
    "keras with nan only": """\
Model output shape (None, 51200, 10)
Epoch 1/1 << event
512/512 [==============================] - 127s 247ms/step - loss: nan - acc: nan - val_loss: nan - val_acc: nan << loss=nan accuracy=nan val_loss=nan
""",
    "keras with a metric of its own": """\
Epoch 1/1000 << event
401/401 [==============================] - 21s 53ms/step - loss: nan - triplet_acc: 0.0000e+00 - val_loss: nan - val_triplet_acc: 0.0000e+00 << loss=nan val_loss=nan
Epoch 2/1000 << event
401/401 [==============================] - 22s 54ms/step - loss: nan - triplet_acc: 0.0000e+00 - val_loss: nan - val_triplet_acc: 0.0000e+00 << loss=nan val_loss=nan
""",
    "keras with many losses": """\
Epoch 9/50 << event
3424/3425 [============================>.] - ETA: 0s - loss: 2.8151 - rpn_bbox_loss: 0.3331 - rpn_class_loss: 0.0831 - regular_loss: 13.5811 - gt_num: 2.3661 << loss=2.8151 rpn_bbox_loss=0.3331 regular_loss=13.5811
3425/3425 [==============================] - 861s 251ms/step - loss: 2.8501 - rpn_bbox_loss: 0.3421 - rpn_class_loss: 0.0871 - regular_loss: 13.5821 - val_loss: 2.8831 - val_rpn_bbox_loss: 0.2731 << loss=2.8501 val_loss=2.8831
""",
    "tensorflow 1 loop with components": """\
python train.py --model=lmo
step: 0 total_loss: 9.5576911 obj_cls: 2.77258811 frag_cls: 4.15888211 frag_loc: 2.37503411 << loss=9.5576911 obj_cls=2.77258811
step: 100 total_loss: nan obj_cls: nan frag_cls: nan frag_loc: nan << loss=nan
INFO:tensorflow:global_step/sec: 2.1271
step: 200 total_loss: nan obj_cls: nan frag_cls: nan frag_loc: 2.31 << loss=nan frag_loc=2.31
""",
    "megatron-deepspeed without a loss": """\
 iteration     5426/  250000 | consumed samples:        43408 | consumed tokens:     88899584 | elapsed time per iteration (ms): 4247.9 | learning rate: 2.999E-04 | global batch size:     8 | loss scale: 1.0 | grad norm: nan | actual seqlen:  2048 | number of skipped iterations:   0 | number of nan iterations:   0 | samples per second: 1.883 | TFLOPs: 78.36 | << grad_norm=nan lr=0.0002999 loss_scale=1
 iteration        9/      10 | consumed samples:          108 | consumed tokens:       442368 | elapsed time per iteration (ms): 1979.2 | learning rate: 4.219E-07 | global batch size:    12 | loss scale: 1.0 | actual seqlen:  4096 | number of skipped iterations:   0 | number of nan iterations:   0 | samples per second: 6.063 | tokens per gpu per second (tgs): 2069.506 | TFLOPs: 127.00 | << lr=4.219e-7 loss_scale=1
""",
    "megatron-llm": """\
 iteration      182/  250000 | consumed samples:       186368 | elapsed time per iteration (ms): 126995.3 | learning rate: 1.365E-05 | global batch size:  1024 | lm loss: 2.382611E+00 | loss scale: 1.0 | grad norm: 0.221 | number of skipped iterations:   0 | number of nan iterations:   0 | << loss=2.382611 grad_norm=0.221
""",
    "fairseq 0.6": """\
| epoch 027 | loss 6.341 | nll_loss 4.981 | ppl 31.61 | wps 164346 | ups 0.4 | wpb 364096 | bsz 11907 | num_updates 10198 | lr 0.000626281 | gnorm 0.391 | clip 0% | oom 0 | loss_scale 0.500 | wall 23080 | train_wall 21383 << loss=6.341 grad_norm=0.391 loss_scale=0.5 lr=0.000626281
| epoch 027 | valid on 'valid' subset | valid_loss 8.30111 | valid_nll_loss 7.15311 | valid_ppl 142.31 | num_updates 10198 | best 4.46311 << val_loss=8.30111
| WARNING: overflow detected, setting loss scale to: 0.25 << event
| WARNING: overflow detected, setting loss scale to: 0.125 << event
| WARNING: overflow detected, setting loss scale to: 0.0001220703125 << event
Traceback (most recent call last): << event
  File "train.py", line 352, in <module>
""",
    "fairseq 0.9": """\
| epoch 028 | loss 3.971 | nll_loss 2.201 | ppl 4.61 | wps 279460 | ups 3 | wpb 110529.673 | bsz 3780.211 | num_updates 9165 | lr 0.000330311 | gnorm 0.631 | clip 0.000 | oom 0.000 | loss_scale 0.000 | wall 4043 | train_wall 3606 << loss=3.971 grad_norm=0.631
| epoch 028 | valid on 'valid' subset | loss 9.321 | nll_loss 8.081 | ppl 272.01 | num_updates 9165 | best_loss 9.11811 << val_loss=9.321
| saved checkpoint ./checkpoints/LDC_zh-en_32k_fp16/checkpoint28.pt (epoch 28 @ 9165 updates) (writing took 7.2686069011688 seconds)
""",
    "fairseq with overflow": """\
2020-08-01 12:39:16 | INFO | fairseq.trainer | NOTE: overflow detected, setting loss scale to: 1024.0 << event
2020-08-01 12:39:39 | INFO | train_inner | epoch 001:   3615 / 6547 loss=0.431, nll_loss=0.001, accuracy=87.1, wps=82565, ups=2.66, wpb=31075.5, bsz=64, num_updates=3600, lr=9e-06, gnorm=3.951, loss_scale=1399, train_wall=38, wall=1353 << loss=0.431 grad_norm=3.951 loss_scale=1399 accuracy=87.1
""",
    "fairseq json of its own": """\
{"epoch": 24, "valid_loss": 3.110661, "valid_nll_loss": 1.321081, "valid_ppl": "2.51"} << val_loss=3.110661
{"epoch": 25, "loss": "3.091", "nll_loss": "1.321", "ppl": "2.51", "wps": 1667443, "ups": "2.7", "num_updates": 53749, "lr": 0.00019091, "gnorm": "0.191", "clip": "100%", "oom": 0.02, "loss_scale": "4.000", "wall": 20721} << loss=3.091 grad_norm=0.191 lr=0.00019091
2020-02-07 13:21:07 | INFO | train | {"epoch": 1, "train_loss": "11.041", "train_nll_loss": "10.391", "train_ppl": "1345.1"} << train_loss=11.041
""",
    "trainer with deepspeed at its floor": """\
 12%|█▏        | 320/2724 [11:49:53<88:41:03, 132.80s/it]
                                                         
{'loss': 1.6691, 'learning_rate': 0.00019777511, 'epoch': 0.23} << loss=1.6691 lr=0.00019777511

 12%|█▏        | 320/2724 [11:49:53<88:41:03, 132.80s/it]
 12%|█▏        | 328/2724 [12:07:36<88:24:05, 132.82s/it][2023-06-08 12:00:00,001] [INFO] [loss_scaler.py:188:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 2, reducing to 1 << loss_scale=1
Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run. << event
""",
    "yolov5 on a gpu": """\
 Epoch   gpu_mem       box       obj       cls    labels  img_size << event
      1/99     2.64G         nan       nan       nan         4       416: 100%|██████████| 7/7 [00:15<00:00,  2.27s/it] << box_loss=nan obj_loss=nan
               Class     Images     Labels          P          R     mAP@.5 mAP@.5:.95: 100%|██████████| 1/1 [00:01<00:00,  1.30s/it]
                 all               14          0             0          0            0              0
""",
    "yolov7": """\
     Epoch   gpu_mem       box       obj       cls     total    labels  img_size << event
    42/299     65.1G       nan    0.0151         0       nan      1963       320: 100%|████████| 729/729 [51:09<00:00,  4.21s/it] << box_loss=nan obj_loss=0.0151 loss=nan
               Class      Images      Labels           P           R      mAP@.5  mAP@.5:.95: 100%|█████| 41/41 [00:58<00:00,  1.43s/it]
                 all       20987      129965       0.845       0.524        0.59       0.318

     Epoch   gpu_mem       box       obj       cls     total    labels  img_size << event
    43/299     65.1G       nan   0.01521         0       nan      4239       320:  77%|██████▊  | 561/729 [38:59<11:27,  4.09s/it] << box_loss=nan obj_loss=0.01521
""",
    "ultralytics with negative losses": """\
                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██████████| 66/66 [00:34<00:00,  1.90it/s]
                   all       1049       1186      0.929      0.872      0.933      0.543

      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size << event
      21/55      9.95G    -0.2331       5.01      2.971         12        640: 100%|██████████| 787/787 [09:07<00:00,  1.44it/s] << box_loss=-0.2331 cls_loss=5.01
                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██████████| 66/66 [00:34<00:00,  1.90it/s]
                   all       1049       1186      0.914      0.898      0.938      0.559

      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size << event
      22/55      9.87G    -0.2281      4.971      2.961         11        640: 100%|██████████| 787/787 [09:06<00:00,  1.44it/s] << box_loss=-0.2281 dfl_loss=2.961
""",
    "trainer with single nan norms": """\
100%|██████████████████████████| 7/7 [00:00<00:00, 1809.34it/s]
{'loss': 0.1471, 'grad_norm': nan, 'learning_rate': 0.0001, 'epoch': 0.04}                                                             << loss=0.1471 grad_norm=nan
{'loss': 0.1541, 'grad_norm': 0.1899611184, 'learning_rate': 0.0001, 'epoch': 0.08}                                                    << loss=0.1541
""",
    "trainer with a quote": """\
> {'loss': 13.6271, 'grad_norm': 4764.443111, 'learning_rate': 0.0, 'epoch': 0.0}                                              << loss=13.6271 grad_norm=4764.443111
{'loss': 15.5911, 'grad_norm': 4215.620111, 'learning_rate': 3.816793893e-08, 'epoch': 0.0}                           << loss=15.5911
""",
    "ppo between bars": """\
{'loss': 0.3291, 'reward': -2.0301, 'learning_rate': 5e-05} << loss=0.3291 reward=-2.0301
  0%|                         | 1/13000 [00:10<36:34:36, 10.13s/it]{'loss': nan, 'reward': 5.7641, 'learning_rate': 5e-05} << loss=nan reward=5.7641
  0%|                         | 2/13000 [00:28<54:33:11, 15.11s/it{'loss': 0.2521, 'reward': 1.2231, 'learning_rate': 5e-05} << loss=0.2521
""",
    "labram": """\
Epoch: [0]  [210/582]  eta: 0:01:39  lr: 0.000036  min_lr: 0.000000  loss: 0.5451 (0.6451)  class_acc: 0.7731 (0.6851)  loss_scale: 2048.0000 (21169.1311)  weight_decay: 0.0500 (0.0500)  grad_norm: 10.5631 (inf)  time: 0.1848  data: 0.0001  max mem: 8738 << loss=0.5451 grad_norm=10.5631 loss_scale=2048 grad_norm_average=inf
""",
    "dino": """\
        {"train_loss": 7.39757711, "train_lr": 1.559388e-05, "train_wd": 0.0400032, "epoch": 0} << loss=7.39757711
{"train_loss": 5.73351411, "train_lr": 4.685079e-05, "train_wd": 0.0400229, "epoch": 1} << loss=5.73351411 lr=4.685079e-05
""",
    "detectron2 without colours": """\
[11/01 20:14:15 d2.utils.events]: eta: 5:41:49  iter: 379  total_loss: 1.701  loss_cls: 1.181  loss_box_reg: 0.471  time: 0.2293  data_time: 0.0033  lr: 0.003791  max_mem: 3782M << loss=1.701 loss_cls=1.181 lr=0.003791
FloatingPointError: Loss became infinite or NaN at iteration=399! << event
loss_dict = {'loss_cls': tensor(nan, device='cuda:0', grad_fn=<NllLossBackward>), 'loss_box_reg': tensor(0.0871, device='cuda:0', grad_fn=<DivBackward0>)} << loss_cls=nan loss_box_reg=0.0871
""",
    "detectron2 with metrics first": """\
[10/19 00:46:12 d2.utils.events]:  eta: 2 days, 10:38:57  iter: 59  cls_acc: 0.3581  fg_cls_acc: 0.121  false_neg_ratio: 0.4171  total_loss: 14.31  region_bce_loss_0: 0.8151  rg_l1_loss_0: 0.1671  focal_loss_0: 1.841  bbox_loss: 1.621  time: 2.4189  data_time: 0.0072  lr: 2.5571e-07  max_mem: 13446M << loss=14.31 region_bce_loss_0=0.8151 lr=2.5571e-07
""",
    "darknet of Alexey": """\
v3 (iou loss, Normalizer: (iou: 0.07, obj: 1.00, cls: 1.00) Region 161 Avg (IOU: 0.026031), count: 8, class_loss = 182.211311, iou_loss = 15.488111, total_loss = 197.699411  << class_loss=182.211311 iou_loss=15.488111
 total_bbox = 923054, rewritten_bbox = 3.995541 % 
v3 (iou loss, Normalizer: (iou: 0.07, obj: 1.00, cls: 1.00) Region 139 Avg (IOU: 0.000000), count: 70, class_loss = 49152.003911, iou_loss = 3499.992111, total_loss = 52651.996011  << class_loss=49152.003911
""",
    "paddle ocr 1.1": """\
2021-05-14 11:36:51,758-INFO: epoch: 0, iter: 2, lr: 0.000001, 'loss': nan, 'acc': 0.0, time: 2.346 << loss=nan lr=0.000001 accuracy=0
2021-05-14 11:36:56,473-INFO: epoch: 0, iter: 4, lr: 0.000002, 'loss': nan, 'acc': 0.0, time: 2.360 << loss=nan lr=0.000002
""",
    "paddle ocr with nanxxx": """\
[2023/10/06 13:31:29] ppocr INFO: epoch: [2/500], global_step: 920, lr: 0.000241, acc: 0.000000, norm_edit_dis: 0.000000, CTCLoss: nanxxx, SARLoss: nanxxx, loss: nanxxx, avg_reader_cost: 0.00015 s, avg_batch_cost: 0.51186 s, avg_samples: 128.0, ips: 250.06955 samples/s, eta: 2 days, 21:06:39 << loss=nan lr=0.000241
[2023/10/06 13:31:34] ppocr INFO: epoch: [2/500], global_step: 930, lr: 0.000241, acc: 0.000000, norm_edit_dis: 0.000000, CTCLoss: nanxxx, SARLoss: nanxxx, loss: nanxxx, avg_reader_cost: 0.00015 s, avg_batch_cost: 0.51984 s, avg_samples: 128.0, ips: 246.22771 samples/s, eta: 2 days, 20:56:45 << loss=nan
""",
    "tensorflow object detection": """\
INFO:tensorflow:Recording summary at step 0.
I1013 12:07:03.785446 140391961581312 tf_logging.py:116] Recording summary at step 0.
INFO:tensorflow:global step 1: loss = 12.6481 (3.511 sec/step) << loss=12.6481
I1013 12:07:05.569523 140401173534464 tf_logging.py:116] global step 1: loss = 12.6481 (3.511 sec/step) << loss=12.6481
INFO:tensorflow:Error reported to Coordinator: <class 'tensorflow.python.framework.errors_impl.InvalidArgumentError'>, LossTensor is inf or nan. : Tensor had NaN values << event
""",
    "tensorflow slim with a spike": """\
INFO:tensorflow:global step 124369: loss = 0.0991 (0.130 sec/step) << loss=0.0991
INFO:tensorflow:global step 124370: loss = 358068508261867004967067454537728.0000 (0.131 sec/step) << loss=3.58068508261867e32
INFO:tensorflow:global step 2458: loss = nan (2.34 sec/step) << loss=nan
""",
    "a tutorial in Chinese": """\
训练数据集的长度为：50000
-------第 1 轮训练开始------ << event
  return torch.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
训练次数：100, Loss：1.9817611 << loss=1.9817611
训练次数：200, Loss：1.9057211 << loss=1.9057211
整体测试集上的Loss: 262.6204611 << val_loss=262.6204611
整体测试集上的正确率: 0.3889911 << val_accuracy=0.3889911
模型已保存
""",
    "an ImageNet loop behind a logger": """\
>>> Epoch: [127/300] << event
2020-08-17 21:48:47,912: logger.py - info(), at Line 49:INFO:
Train - Epoch: [127/300][ 35/464]\tTime  0.738 ( 0.738)\tData  0.000 ( 0.014)\tLoss 2.1271e+00 (1.5401e+00) << loss=2.1271 loss_average=1.5401
""",
    "losses without a blank": """\
Epoch 0, Iter 0: Loss:1.0631 S-loss:0.9641 << loss=1.0631 s-loss=0.9641
Epoch 1, Iter 0: Loss:nan S-loss:nan << loss=nan s-loss=nan
""",
    "yolov3 in pytorch": """\
[Epoch 0/30, Batch 323/1313] [Losses: x nan, y nan, w nan, h nan, conf 0.755181, cls nan, total nan] << loss=nan loss_conf=0.755181
[Epoch 0/30, Batch 324/1313] [Losses: x nan, y nan, w nan, h nan, conf 0.760501, cls nan, total nan] << loss=nan
""",
    "mnist example with long numbers": """\
start: 10:58:18.842664
training data: 188 batches
Train Epoch: 1 [0/6000 (0%)]\tLoss: 0.038804907351711 << loss=0.038804907351711
Train Epoch: 1 [32/6000 (1%)]\tLoss: 0.039279893040611 << loss=0.039279893040611
""",
    "compression": """\
[2023-03-10 19:57:28,953]     batch count: 220/308, iter: 220, bpp_loss_y: 0.020311, bpp_loss: 0.020311, xyz_loss: 0.082711, loss: 0.103031, aux_loss: 463.473511 << loss=0.103031 aux_loss=463.473511
[2023-03-10 19:57:37,438] Epoch: 3/3 --- time: 1134.979267, lr: 0.000800, avg_bpp_loss_y: 0.021141, avg_bpp_loss: 0.021141, avg_xyz_loss: 0.084961, avg_loss: 0.106101 << avg_loss=0.106101 lr=0.0008
[2023-03-10 19:57:38,241] Training at epoch 4 (total 4) with lr 0.0008 and aux_lr 0.005
""",
    "espnet skips": """\
[user] 2021-04-23 19:22:52,420 (trainer:581) WARNING: The grad norm is nan. Skipping updating the model. << event
[user] 2021-04-23 19:22:56,245 (trainer:636) INFO: 2epoch:train:12009-12640batch: iter_time=3.163e-04, forward_time=0.110, loss=65.121, loss_att=124.071, loss_ctc=144.681, acc=0.061, backward_time=0.086, optim0_lr0=1.481e-05, train_time=0.624 << loss=65.121 loss_att=124.071 lr=1.481e-05
[7cc1303a881b:0/8] 2022-02-21 11:44:54,398 (ctc:74) WARNING: 1/2 samples got nan grad. These were ignored for CTC loss. << event
""",
    "gans": """\
[Epoch 604000] [D loss: 0.000411, acc: 100%] [G loss: 1381.413511] << d_loss=0.000411 g_loss=1381.413511
Epoch 48:g_trn_l=662.2931,d_trn_l=-8.6341: 100%|█| 2500/2500 [17:29<00:00, 2.38 << g_trn_l=662.2931
Epoch 49: val_d_loss=-8.144511, val_g_loss=722.569711 << val_d_loss=-8.144511
progress  epoch 50  step 602  image/sec 35.7  remaining 0m
discrim_loss nan << discrim_loss=nan
gen_loss_L1 380.16921 << gen_loss_l1=380.16921
""",
    "stylegan": """\
D_loss: nan, D_loss_grad_norm: nan, D_lr: 0.001881 << d_loss=nan
D_reg: 0.002351, D_reg_grad_norm: 0.001561, G_loss: nan << g_loss=nan
G_loss_grad_norm: nan, G_lr: 0.0016, G_reg: nan << g_loss_grad_norm=nan
""",
    "stable baselines 2": """\
--------------------------------------
| approxkl           | 6.6147811e-05 |
| ep_rewmean         | nan           | << ep_rewmean=nan
| policy_entropy     | 0.6017111     | << policy_entropy=0.6017111
| policy_loss        | 0.0006248311  | << policy_loss=0.0006248311
| total_timesteps    | 24960         |
| value_loss         | 63.725811     | << value_loss=63.725811
--------------------------------------
""",
    "opennmt by epochs": """\
Epoch  1, 12900/37527; acc:   4.41; ppl: 35173.71; xent:  10.41; 3599 src tok/s; 3678 tgt tok/s;   9861 s elapsed << loss=10.41 accuracy=4.41
[2018-11-26 15:06:01,481 INFO] Step 5650/50000; acc:   0.11; ppl:   nan; xent:  nan; lr: 0.00071; 1928/2310 tok/s;  21110 sec << loss=nan lr=0.00071
""",
    "caffe of old": """\
I0425 10:13:04.672341  9167 solver.cpp:208] Iteration 200, lr = 0.01 << lr=0.01
I0425 10:13:04.672637  9167 solver.cpp:65] Iteration 200, loss = 6.55621 << loss=6.55621
I0425 10:13:21.206111  9167 solver.cpp:65] Iteration 220, loss = nan << loss=nan
I0712 12:18:40.334661  3123 solver.cpp:244]     Train net output #0: loss = -nan (* 1 = -nan loss) << loss=nan
I1224 16:56:24.839272 31888 solver.cpp:142] Test score #0: 0.13
""",
    "caffe on windows": """\
> 1508138445  INFO: src/caffe/solver.cpp : line 218 : Iteration 0 (-0.382098 iter/s, 183.199s/1 iters), loss = nan    << loss=nan
> 1508138445  INFO: src/caffe/solvers/sgd_solver.cpp : line 105 : Iteration 0, lr = 0 << lr=0
I0306 10:34:24.854379 13326 solver.cpp:371]     Train net output #0: mbox_loss = 662.551 (* 1 = 662.551 loss) << mbox_loss=662.551
I0306 10:34:24.854398 13326 sgd_solver.cpp:170] Iteration 900, lr = 0.0001, m = 0.9, wd = 0.0004, gs = 1 << lr=0.0001
""",
    "mxnet": """\
Epoch[4] Batch [600-620]\tSpeed: 6.24 samples/sec\tLoss=8.776211 << loss=8.776211
Epoch[4] Train-CrossEntropy=nan << train-crossentropy=nan
Epoch[4] Validation-Loss=87.491221 << val_loss=87.491221
[Epoch 0][Batch 99], Speed: 31.855627 samples/sec, CrossEntropy=12.250111, SmoothL1=nan << crossentropy=12.250111 smoothl1=nan
2016-10-10 01:46:24,101 Epoch[0] Batch [100]    Speed: 704  loss: nan(nan)  top1: 5.6561(5.1401) << loss=nan
2016-10-10 01:47:31,134 Epoch[0] Validation-accuracy=0.050151 << val_accuracy=0.050151
""",
    "tensorflow tts": """\
2022-01-30 05:40:05,977 (base_trainer:988) INFO: (Step: 24400) train_mel_loss_before = nan. << train_mel_loss_before=nan
2022-01-30 05:40:05,978 (base_trainer:988) INFO: (Step: 24400) train_stop_token_loss = 0.0121. << train_stop_token_loss=0.0121
RuntimeError:  [!] NaN loss with decoder_loss. << event
""",
    "policy gradient behind a logger": """\
2019-02-03 08:03:28,062 INFO      epoch 3/4 << event
2019-02-03 08:03:36,499 INFO     steps_per_s=443.39, avg_weight_age=4.9, reward_per_sec=-0.0041, loss=0.2221, entropy=7.481, advantage=0.121 << loss=0.2221 entropy=7.481
2019-02-03 08:03:36,767 INFO     iteration 9/10000
""",
}
SNIPPETS |= {
    "flair": """\
2019-02-19 18:37:07,429 ----------------------------------------------------------------------------------------------------
2019-02-19 18:37:07,467 epoch 1 - iter 0/249 - loss 0.04735911 << loss=0.04735911
2019-02-19 18:37:07,940 epoch 1 - iter 24/249 - loss 0.03604011 << loss=0.03604011
2019-02-19 18:37:12,097 EPOCH 1 done: loss 0.0351 - lr 0.1000 - bad epochs 0 << loss=0.0351 lr=0.1
2019-02-19 18:37:12,571 DEV  : loss 0.03877511 - f-score 0.5581 - acc 0.5581 << val_loss=0.03877511 val_accuracy=0.5581
2019-02-19 18:37:13,162 TEST : loss 0.04066511 - f-score 0.5521 - acc 0.5521 << val_loss=0.04066511
""",
    "flair of today": """\
2023-10-03 12:24:31,249 epoch 1 - iter 46/469 - loss 0.00000000 - time (sec): 12.66 - samples/sec: 1513.17 - lr: 0.100000 << loss=0 lr=0.1
2023-10-03 12:31:20,156 epoch 1 - iter 92/469 - loss 0.48564111 - samples/sec: 102.92 - lr: 0.100000 << loss=0.48564111 lr=0.1
""",
    "nnU-Net": """\
2023-08-09 14:55:25.642011: Epoch 0  << event
2023-08-09 14:55:25.642085: Current learning rate: 0.01  << lr=0.01
2023-08-09 15:17:51.409852: train_loss nan  << loss=nan
2023-08-09 15:17:51.440985: val_loss nan  << val_loss=nan
2023-08-09 15:17:51.441061: Pseudo dice [0.0, 0.0] 
2023-08-09 15:17:51.452639: Epoch time: 1345.72 s 
2023-08-09 15:17:51.456612: Yayy! New best EMA pseudo Dice: 0.0 
2023-08-09 15:18:00.922225: Epoch 1  << event
2023-08-09 15:18:00.922357: Current learning rate: 0.00999  << lr=0.00999
""",
    "nnU-Net with a warning": """\
nnUNetTrainer.py:1119: RuntimeWarning: invalid value encountered in scalar divide << event
  global_dc_per_class = [i for i in [2 * i / (2 * i + j + k) for i, j, k in zip(tp, fp, fn)]]
2024-07-09 13:35:54.727426: train_loss -0.6151 << loss=-0.6151
2024-07-09 13:35:54.740389: val_loss 0.2491 << val_loss=0.2491
""",
    "text gcn": """\
Tensor("add_1:0", shape=(), dtype=float32)
Epoch: 0111 train_loss= 0.00121 train_acc= 0.04541 val_loss= nan val_acc= 0.06101 time= 8.46537 << loss=0.00121 accuracy=0.04541 val_loss=nan val_accuracy=0.06101
""",
    "trajectories": """\
Train Epoch: 16 Loss: 0.35977811: 100% 2785/2785 [00:53<00:00, 52.28it/s] << loss=0.35977811
Valid Epoch: 16 Loss: nan: 100% 660/660 [00:04<00:00, 143.71it/s] << val_loss=nan
 
Dataset: tag, Epoch: 16
Train_loss: 46.051703711, Val_los: nan << train_loss=46.051703711
Min_val_epoch: -1, Min_val_loss: 10000000000.0
""",
    "icefall": """\
2022-04-28 21:16:31,929 INFO [train.py:755] Epoch 0, batch 0, loss[loss=0.451, simple_loss=0.911, pruned_loss=8.771, over 2490.00 frames.], tot_loss[loss=0.452, simple_loss=0.912, pruned_loss=8.772, over 2490.00 frames.], batch size: 30, lr: 3.00e-03 << loss=0.451 simple_loss=0.911 lr=0.003
2022-10-23 14:53:29,352 INFO [train.py:907] (0/8) Epoch 3, batch 115350, loss[loss=0.2261, simple_loss=0.241, pruned_loss=inf, over 493.00 frames. utt_duration=220.1 frames, utt_pad_proportion=0.3638, over 9.00 utterances.], tot_loss[loss=0.2171, simple_loss=0.2711, pruned_loss=0.08211, over 177822.05 frames.], batch size: 9, lr: 3.41e-04 << loss=0.2261 pruned_loss=inf lr=0.000341
""",
    "icefall on a cluster": """\
[1,mpirank:5,algo-1]<stderr>:2025-01-18 18:21:26,565 INFO [finetune.py:1142] (5/8) Epoch 2, batch 5850, loss[loss=0.2421, simple_loss=0.2701, pruned_loss=0.0781, ctc_loss=0.1441, over 2699.00 frames. ], tot_loss[loss=0.2791, simple_loss=0.2831, pruned_loss=0.1011, ctc_loss=0.1801, over 643152.39 frames. ], batch size: 10, lr: 4.48e-03, << loss=0.2421 ctc_loss=0.1441 lr=0.00448
""",
    "pytorch-kaldi": """\
ep=00 tr=['pretrain_train'] loss=2.531 err=0.571 valid=dev loss=1.701 err=0.431 lr_architecture1=0.0002 lr_architecture2=0.0002 time(s)=27674 << loss=2.531 err=0.571
ep=01 tr=['pretrain_train'] loss=1.981 err=0.471 valid=dev loss=1.461 err=0.381 lr_architecture1=0.0002 lr_architecture2=0.0002 time(s)=27512 << loss=1.981
""",
    "nerfacc": """\
elapsed_time=1.78s | step=0 | loss=0.00881 | alive_ray_mask=64 | n_rendering_samples=10231 | num_rays=64 | << loss=0.00881
elapsed_time=163.39s | step=5000 | loss=nan | alive_ray_mask=0 | n_rendering_samples=65611 | num_rays=269 | << loss=nan
""",
    "nerf2mesh": """\
==> Start Training Epoch 1, lr=0.010000 ...
loss=nan (nan) lr=0.007100: :  86% 86/100 [00:00<00:00, 98.30it/s]NaN or Inf found in input tensor. << loss=nan lr=0.0071
""",
    "kohya": """\
epoch 2/15 << event
INFO:dataset.image_video_dataset:epoch is incremented. current_epoch: 1, epoch: 2
steps:  13%|█████████▏               | 440/3300 [21:33<2:20:06,  2.94s/it, avr_loss=nan] << loss=nan
saving checkpoint: D:/Msubi/musubi-tuner/Output/P4ulink4_test2\\P4ulink4_512_test_2-000002.safetensors
""",
    "musubi behind a logger": """\
[08:03:44] [STDERR] INFO:musubi_tuner.dataset.image_video_dataset:epoch is incremented. current_epoch: 6, epoch: 7
[08:03:59] [STDERR] steps:  39%|███▊      | 37/96 [13:19<21:14, 21.61s/it, avr_loss=0.0791] << loss=0.0791
[08:04:19] [STDERR] steps:  40%|███▉      | 38/96 [13:34<20:43, 21.45s/it, avr_loss=0.0851] << loss=0.0851
""",
    "lightning without a bar": """\
Epoch 0:  97% 1651/1702 [13:00<00:24,  2.11it/s, loss=0.151, v_num=0, train_loss=0.141] << loss=0.151 train_loss=0.141
Epoch 0:  98% 1660/1702 [13:02<00:19,  2.12it/s, loss=0.152, v_num=0, train_loss=0.142] << loss=0.152
""",
    "lightning with a tensor": """\
Epoch 1: 100%|██████████| 5/5 [00:04<00:00,  1.21it/s, loss=82.421, v_num=52, val_loss=tensor(76.4311, dtype=torch.float32)] << loss=82.421 val_loss=76.4311
Epoch 1: 100%|████| 1017/1017 [00:09<00:00, 100.37it/s, loss=0.331, v_num=24, train_loss=2.31, train_acc=0.141Exception ignored in: <function tqdm.__del__ at 0x7fd9c4374f80> << loss=0.331 train_loss=2.31
""",
    "axolotl with memory": """\
{'loss': 4.75, 'grad_norm': 98.51, 'learning_rate': 5e-06, 'memory/max_mem_active(gib)': 25.45, 'memory/max_mem_allocated(gib)': 25.45, 'memory/device_mem_reserved(gib)': 30.22, 'epoch': 1.0} << loss=4.75 grad_norm=98.51
""",
}
